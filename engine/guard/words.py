"""The operator's word lists: what is not answered, what is masked, and where a word is harmless."""

import re
from collections.abc import Iterable, Sequence

from engine.guard.folding import folded
from hub.guard_settings import GuardSettings
from hub.redaction import MASK

_BLANKS = 8
"""Between two words of a phrase at most."""
_BETWEEN = r"[\s_\-\u2010-\u2015]"


class WordLists:
    """Finds whole words and phrases as a reader takes them: whatever their case, width and marks, however many blanks or
    hyphens lie between them, and with letters of another script among them.
    """

    def __init__(self, settings: GuardSettings) -> None:
        self._blocked = _pattern(settings.block)
        self._masked = _pattern([*settings.redact, *settings.block])
        self._redacted = _pattern(settings.redact)
        self._allowed = _pattern(settings.allow)
        phrases = (*settings.block, *settings.redact, *settings.allow)
        self._longest = max(
            (len(folded(phrase)[0]) + _BLANKS * len(phrase.split()) for phrase in phrases), default=0
        )

    @property
    def masks_answers(self) -> bool:
        """Whether answers must be looked at."""
        return self._masked is not None

    def blocks(self, text: str) -> bool:
        """Whether a message holds what is not answered."""
        return bool(self._found(self._blocked, *folded(text)))

    def redacted(self, text: str) -> str:
        """Mask in what somebody wrote."""
        return self._replaced(self._redacted, text)

    def masked(self, text: str) -> str:
        """Mask in what the hub says: also the words that it does not answer to."""
        return self._replaced(self._masked, text)

    def spans(self, text: str) -> list[tuple[int, int, bool]]:
        """Return where a text must not be cut, in order: begin, end, and whether `masked` changes it there."""
        plain, places = folded(text)
        allowed = [match.span() for match in self._allowed.finditer(plain)] if self._allowed else []
        masked = self._found(self._masked, plain, places)
        return sorted(
            [*((*_origin(span, places), False) for span in allowed), *((*span, True) for span in masked)]
        )

    def settled(self, text: str) -> int:
        """Return how much of a text no phrase reaches into that goes on behind its end."""
        if text.isascii():
            return max(0, len(text) - self._longest - 1)
        _, places = folded(text)
        return places[-self._longest - 1] if len(places) > self._longest else 0

    def _replaced(self, pattern: re.Pattern[str] | None, text: str) -> str:
        written, place = "", 0
        for start, end in self._found(pattern, *folded(text)) if pattern else ():
            written += text[place:start] + MASK
            place = end
        return written + text[place:]

    def _found(
        self, pattern: re.Pattern[str] | None, plain: str, places: Sequence[int]
    ) -> list[tuple[int, int]]:
        """Return where in the original what is looked for stands, but for what an allowed phrase holds."""
        if pattern is None:
            return []
        harmless = [match.span() for match in self._allowed.finditer(plain)] if self._allowed else []
        return [
            _origin(match.span(), places)
            for match in pattern.finditer(plain)
            if not any(start <= match.start() and match.end() <= end for start, end in harmless)
        ]


def _origin(span: tuple[int, int], places: Sequence[int]) -> tuple[int, int]:
    start, end = span
    return places[start], places[end - 1] + 1


def _pattern(phrases: Iterable[str] | Sequence[str]) -> re.Pattern[str] | None:
    # The longest first: of "kill" and "kill switch" the longer one is meant.
    written = sorted(
        {rf"{_BETWEEN}{{1,{_BLANKS}}}".join(map(re.escape, folded(phrase)[0].split())) for phrase in phrases},
        key=len,
        reverse=True,
    )
    # An underscore ends a word: in Markdown it only makes it slanted.
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(written)})(?![^\W_])") if written else None
