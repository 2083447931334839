"""One request on its way through the scheduler, and how what happens to it reaches the one who asked."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, field

import numpy as np

from engine.models.base import End, GenerateEvent, GenerateOptions, Requester, Text
from engine.models.llama.drafts import Guesses
from engine.models.llama.fairness import Turn
from engine.models.llama.sampling import Sampler
from engine.models.llama.sequence import Ahead, Sequence
from engine.models.llama.vocabulary import Tokens, Vocabulary
from engine.models.templates import EncodedPrompt
from engine.models.text_stream import TextStream
from hub.errors import HubError

Event = GenerateEvent | HubError
GATHER_S = 0.025
"""Half of what the hub itself gathers text for before it is shown."""


@dataclass(slots=True, eq=False, repr=False, kw_only=True)
class Request:
    """A prompt and what has become of it; owned by the scheduler's thread but for `is_cancelled` and `events`."""

    prompt: EncodedPrompt
    options: GenerateOptions
    requester: Requester
    loop: asyncio.AbstractEventLoop
    events: "asyncio.Queue[Event]" = field(default_factory=asyncio.Queue)
    """Filled in the event loop."""
    is_cancelled: bool = False
    turn: Turn | None = None
    sampler: Sampler | None = None
    sequence: Sequence | None = None
    generated: list[int] = field(default_factory=list)
    cached_tokens: int | None = None
    """Known once the request was given a sequence for the first time."""
    known_tokens: int = 0
    """Tokens that will probably not have to be computed."""
    ahead: Ahead | None = None
    """Who is computing them just now."""
    text_at_s: float | None = None
    """When the first text will come, as the one who asked was told."""
    failures: int = 0
    """Steps that failed while it was computed."""
    is_heard: bool = False
    """Whether text of it was told."""
    own_key: str = ""
    """Finds what was computed of this request before its sequence was taken away."""
    guesses: Guesses = field(default_factory=Guesses)
    text: TextStream = field(init=False)
    _unsaid: int = 0

    def __post_init__(self) -> None:
        self.text = TextStream(self.options.stop)

    @property
    def tokens(self) -> Tokens:
        """All that must be computed before the next token can be chosen."""
        return np.concatenate([self.prompt.tokens, np.array(self.generated, np.int32)])

    @property
    def is_prefilling(self) -> bool:
        """Whether more than the last chosen token is still to be computed."""
        return self.sequence is not None and (not self.generated or self.sequence.pending > 1)

    def accept(self, tokens: Ordered[int], vocabulary: Vocabulary) -> list[Text | End]:
        """Take the next tokens of the answer; those after its end are ignored.

        Returns: what the one who asked gets to know; the last is an End when the answer has ended.
        """
        piece, reason = "", None
        for token in tokens:
            if token in vocabulary.end_tokens and not self.options.ignore_end:
                reason = "stop"
                break
            self.generated.append(token)
            self._unsaid += 1
            piece += self.text.feed(vocabulary.piece(token))
            if self.text.is_stopped:
                reason = "stop"
                break
            if len(self.generated) >= self.options.max_tokens:
                reason = "length"
                break
        if reason is None:
            return self._said(piece)
        piece += self.text.finish()
        return [*self._said(piece), self._end("length" if reason == "length" else "stop")]

    def _said(self, piece: str) -> list[Text | End]:
        if not piece:
            return []
        tokens, self._unsaid = self._unsaid, 0
        return [Text(text=piece, tokens=tokens)]

    def _end(self, reason: str) -> End:
        return End(
            reason="length" if reason == "length" else "stop",
            prompt_tokens=len(self.prompt.tokens),
            answer_tokens=len(self.generated),
            cached_tokens=self.cached_tokens or 0,
        )


class Outbox:
    """Collects what steps have to tell, and hands it over once for each event loop.

    The beginning and the end of an answer are told at once. Text in between is gathered for GATHER_S: nobody reads
    faster, and with one answer on few cores every hand-over takes a twentieth of the time of its token.
    """

    def __init__(self) -> None:
        self._items: dict[asyncio.AbstractEventLoop, list[tuple[Request, Event]]] = defaultdict(list)
        self._is_urgent = False
        self._flushed_at_s = 0.0

    def put(self, request: Request, event: Event) -> None:
        """Tell the one who asked."""
        self._items[request.loop].append((request, event))
        if not isinstance(event, Text):
            self._is_urgent = True
        elif not request.is_heard:
            request.is_heard = self._is_urgent = True

    def flush(self, now_s: float, next_s: float = GATHER_S) -> None:
        """Hand everything over, unless it is text that can wait for the next occasion.

        Args:
            now_s: the time, of any clock that only goes forward.
            next_s: when that will be, in seconds from now.
        """
        if not self._is_urgent and now_s + next_s - self._flushed_at_s < GATHER_S:
            return
        self._is_urgent, self._flushed_at_s = False, now_s
        items, self._items = self._items, defaultdict(list)
        for loop, said in items.items():
            # The loop may be gone while the last token was computed; then nobody listens any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_deliver, said)


def _deliver(items: list[tuple[Request, Event]]) -> None:
    for request, event in items:
        request.events.put_nowait(event)
