"""The operator's word lists: what is not answered, what is masked, and where a word is harmless."""

import re
from collections.abc import Iterable, Sequence

from hub.guard_settings import GuardSettings
from hub.redaction import MASK

_BLANKS = 8
"""Between two words of a phrase at most."""


class WordLists:
    """Finds whole words and phrases, whatever their case and however many blanks lie between them."""

    def __init__(self, settings: GuardSettings) -> None:
        self._blocked = _pattern(settings.block)
        self._masked = _pattern([*settings.redact, *settings.block])
        self._redacted = _pattern(settings.redact)
        self._allowed = _pattern(settings.allow)
        phrases = (*settings.block, *settings.redact, *settings.allow)
        self.longest = max((len(phrase) + _BLANKS * len(phrase.split()) for phrase in phrases), default=0)
        """Characters that the longest phrase may take up."""

    @property
    def masks_answers(self) -> bool:
        """Whether answers must be looked at."""
        return self._masked is not None

    def blocks(self, text: str) -> bool:
        """Whether a message holds what is not answered."""
        return bool(self._found(self._blocked, text))

    def redacted(self, text: str) -> str:
        """Mask in what somebody wrote."""
        return self._replaced(self._redacted, text)

    def masked(self, text: str) -> str:
        """Mask in what the hub says: also the words that it does not answer to."""
        return self._replaced(self._masked, text)

    def spans(self, text: str) -> list[tuple[int, int, bool]]:
        """Return where a text must not be cut, in order: begin, end, and whether `masked` changes it there."""
        allowed = [(*match.span(), False) for match in self._allowed.finditer(text)] if self._allowed else []
        return sorted([*allowed, *((*match.span(), True) for match in self._found(self._masked, text))])

    def _replaced(self, pattern: re.Pattern[str] | None, text: str) -> str:
        written, place = "", 0
        for match in self._found(pattern, text):
            written += text[place : match.start()] + MASK
            place = match.end()
        return written + text[place:]

    def _found(self, pattern: re.Pattern[str] | None, text: str) -> list[re.Match[str]]:
        if pattern is None:
            return []
        harmless = [match.span() for match in self._allowed.finditer(text)] if self._allowed else []
        return [
            match
            for match in pattern.finditer(text)
            if not any(start <= match.start() and match.end() <= end for start, end in harmless)
        ]


def _pattern(phrases: Iterable[str] | Sequence[str]) -> re.Pattern[str] | None:
    # The longest first: of "kill" and "kill switch" the longer one is meant.
    written = sorted(
        {rf"\s{{1,{_BLANKS}}}".join(map(re.escape, phrase.split())) for phrase in phrases},
        key=len,
        reverse=True,
    )
    return re.compile(rf"(?<!\w)(?:{'|'.join(written)})(?!\w)", re.IGNORECASE) if written else None
