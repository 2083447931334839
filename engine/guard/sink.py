"""Masks words in a text that is shown as it grows: what may be the beginning of one waits for its end."""

from engine.answers import TextSink
from engine.guard.words import WordLists
from hub.redaction import MASK


class MaskingSink:
    """Shows a text piece by piece, each once no phrase can reach over its end any more."""

    def __init__(self, sink: TextSink, words: WordLists) -> None:
        self._sink = sink
        self._words = words
        self._waiting = ""
        self._before = ""
        """The last character shown: whether a word begins behind it depends on it."""
        self.text = ""

    async def add(self, text: str) -> None:
        """Show more text."""
        self._waiting += text
        await self._show(self._words.settled(self._waiting))

    async def waiting(self, wait_s: float) -> None:
        """Show that the model is busy."""
        await self._sink.waiting(wait_s)

    async def reset(self) -> None:
        """Drop what was shown."""
        self._waiting = self._before = self.text = ""
        await self._sink.reset()

    async def finish(self) -> str:
        """Show the rest, and return the whole text as it was shown."""
        await self._show(len(self._waiting))
        return self.text

    async def _show(self, end: int) -> None:
        """Show what stands before `end`, or before the phrase that reaches over it."""
        offset = len(self._before)
        # All that is known is looked at: whether a word ends here depends on what stands behind it.
        spans = self._words.spans(self._before + self._waiting)
        # What seems to begin with the character before is within a word that was shown.
        found = [(start - offset, stop - offset, masks) for start, stop, masks in spans if start >= offset]
        # From the back: a phrase may begin within another one.
        for start, stop, _ in reversed(found):
            if start < end < stop:
                end = start
        if end <= 0:
            return
        shown, place = "", 0
        for start, stop, masks in found:
            if masks and stop <= end:
                shown += self._waiting[place:start] + MASK
                place = stop
        shown += self._waiting[place:end]
        self._before, self._waiting = self._waiting[end - 1 : end], self._waiting[end:]
        self.text += shown
        await self._sink.add(shown)
