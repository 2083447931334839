"""Turns the bytes of generated tokens into text: whole characters only, and nothing of a stop string."""

import codecs
from collections.abc import Sequence


class TextStream:
    """Decodes UTF-8 across tokens and holds back what may be the beginning of a stop string."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(text for text in stop if text)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.is_stopped = False
        """Whether a stop string was met; what comes after it is dropped."""

    def feed(self, data: bytes) -> str:
        """Return the text that is certain once these bytes are known."""
        return self._release(self._held + self._decoder.decode(data))

    def finish(self) -> str:
        """Return what was held back, now that nothing follows."""
        text = self._release(self._held + self._decoder.decode(b"", final=True)) + self._held
        self._held = ""
        return text

    def _release(self, text: str) -> str:
        if self.is_stopped:
            return ""
        found = [position for stop in self._stop if (position := text.find(stop)) >= 0]
        if found:
            self.is_stopped, self._held = True, ""
            return text[: min(found)]
        held = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def _overlap(text: str, stop: str) -> int:
    """Count the characters at the end of `text` that begin `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if stop.startswith(text[-size:])), 0)
