"""Live text for clients that can only append: whatever is begun again or lost on the way, pieces add up to the answer."""

from hub.api.problems import Problem
from hub.live import LiveEvent


class Transcript:
    """What a client was shown of an answer, and what it is shown next."""

    def __init__(self) -> None:
        self._shown = ""
        self._text = ""

    def take(self, event: LiveEvent) -> str:
        """Return what a live event adds for the client; empty while it lags behind what was shown."""
        if event.kind == "reset":
            # What was shown cannot be taken back: the new answer is shown from where it goes beyond it.
            self._text = ""
        elif event.kind == "delta" and event.offset == len(self._text):
            self._text += event.text
        # A piece that does not join was preceded by one that is lost; the end brings what is missing.
        return self._advance(self._text)

    def rest(self, text: str) -> str:
        """Return what is missing of the whole answer.

        Raises: Problem: 502 when another answer had begun to be shown.
        """
        if not text.startswith(self._shown):
            raise Problem(502, "answer_changed", "The answer was begun again and came out differently.")
        return self._advance(text)

    def _advance(self, text: str) -> str:
        if not text.startswith(self._shown):
            return ""
        more = text[len(self._shown) :]
        self._shown += more
        return more
