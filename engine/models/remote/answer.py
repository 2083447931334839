"""One answer of a remote model as it comes in, and what all of them cost."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Literal

from engine.models.base import End, GenerateOptions, ModelStatistics
from engine.models.remote.wire import Piece
from engine.models.text_stream import TextStream
from hub.errors import ModelError

MOST_CHARS_OF_A_TOKEN = 64


class Answer:
    """Cuts an answer at stop strings, bounds it and counts it.

    Args:
        options: how it was asked for.
        prompt_tokens: estimated, for the case that the server does not tell.
    """

    def __init__(self, options: GenerateOptions, prompt_tokens: int) -> None:
        self._options = options
        self._prompt_tokens = prompt_tokens
        self._text = TextStream(options.stop)
        self._pieces = 0
        self._chars_left = MOST_CHARS_OF_A_TOKEN * (options.max_tokens + 1)
        self._told = Piece()
        self._finish = ""

    @property
    def is_stopped(self) -> bool:
        """Whether a stop string was met."""
        return self._text.is_stopped

    def take(self, piece: Piece) -> str:
        """Return the text that is certain once this piece is known.

        Raises: ModelError: the server goes on although it wrote far more than it was asked for.
        """
        self._finish = piece.finish or self._finish
        if piece.prompt_tokens or piece.answer_tokens:
            self._told = piece
        if not piece.text:
            return ""
        self._pieces += 1
        self._chars_left -= len(piece.text)
        if self._chars_left < 0:
            raise ModelError(f"far more came than the {self._options.max_tokens} tokens that were asked for")
        return self._text.feed(piece.text.encode("utf-8", "replace"))

    def finish(self) -> str:
        """Return what was held back, now that nothing follows."""
        return self._text.finish()

    def end(self) -> End:
        """Tell what the answer cost: as the server told, else as it was seen."""
        most = self._options.max_tokens
        is_cut = self._finish == "length" and not self.is_stopped
        reason: Literal["stop", "length"] = "length" if is_cut else "stop"
        # Servers mostly send a piece for each token; an answer that ran to its limit has exactly so many.
        seen = most if is_cut else min(self._pieces, most)
        return End(
            reason=reason,
            prompt_tokens=self._told.prompt_tokens or self._prompt_tokens,
            answer_tokens=self._told.answer_tokens or seen,
            cached_tokens=min(self._told.cached_tokens, self._told.prompt_tokens),
        )


class Ledger:
    """What a model does and has done."""

    def __init__(self) -> None:
        self.idle = asyncio.Event()
        """Set while nothing runs."""
        self.idle.set()
        self._running = 0
        self._prompt_tokens = self._cached_tokens = self._answer_tokens = 0
        self._busy_s = 0.0
        self._busy_since = 0.0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Count a request as running."""
        if not self._running:
            self._busy_since = time.monotonic()
            self.idle.clear()
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self._busy_s += time.monotonic() - self._busy_since
                self.idle.set()

    def count(self, end: End) -> None:
        """Add what an answer cost."""
        self._prompt_tokens += end.prompt_tokens
        self._cached_tokens += end.cached_tokens
        self._answer_tokens += end.answer_tokens

    def statistics(self) -> ModelStatistics:
        """Tell all of it."""
        since = time.monotonic() - self._busy_since if self._running else 0.0
        return ModelStatistics(
            running=self._running,
            prompt_tokens=self._prompt_tokens,
            cached_tokens=self._cached_tokens,
            answer_tokens=self._answer_tokens,
            busy_s=self._busy_s + since,
        )
