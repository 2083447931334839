"""Answers for whoever asks a model itself: what the client wrote goes in, what the model says comes out."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from time import perf_counter

import structlog

from engine.answers import Answer, Recollection, TextSink, TurnStats
from engine.asked import Inputs, asking
from engine.models.base import (
    ChatMessage,
    ChatModel,
    End,
    GenerateOptions,
    ModelProvider,
    Prompt,
    Requester,
    Text,
    Waiting,
)
from engine.requesters import requester_of
from hub.errors import ContextWindowExceeded, ModelError, OptionRefused, UnknownModel
from hub.messages import Generation, InboundMessage, Turn, Usage
from hub.settings import EngineSettings, TierSettings
from hub.traces import timed

log = structlog.get_logger(__name__)

_TAKEN_OVER = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repeat_penalty",
    "seed",
    "stop",
    "logit_bias",
    "grammar",
    "json_schema",
)


class DirectAnswers:
    """Runs what `InboundMessage.generation` describes; any number of turns at once."""

    def __init__(
        self, models: ModelProvider, *, engine: EngineSettings, tiers: Mapping[str, TierSettings]
    ) -> None:
        self._models = models
        self._max_tokens = engine.max_answer_tokens
        self._warn_wait_s = engine.warn_wait_s
        self._channels_weight = engine.channels_weight
        self._tiers = tiers

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Answer one message with the model it names.

        Returns: the model's words as they came; an answer of kind `error` where another request might do better.

        Raises:
            ModelBusy: so much waits for the model that it takes nothing more for now.
            ModelError: the model failed while it wrote.
        """
        assert message.generation is not None
        stats = TurnStats(model=message.generation.model, route="model")
        started = perf_counter()
        try:
            answer = await self._answer(message, message.generation, recollection, text, stats)
        except UnknownModel as error:
            answer = _refusal("model_not_found", str(error), stats)
        except OptionRefused as error:
            answer = _refusal("option_refused", str(error), stats)
        except ContextWindowExceeded as error:
            needed = f"This prompt takes {error.needed} tokens with its answer"
            answer = _refusal(
                "context_length_exceeded", f"{needed}; the model holds {error.limit} of both.", stats
            )
        stats.total_ms = (perf_counter() - started) * 1000
        if answer.usage is None:
            return answer
        return replace(answer, usage=answer.usage.model_copy(update={"processing_s": stats.total_ms / 1000}))

    async def _answer(
        self,
        message: InboundMessage,
        generation: Generation,
        recollection: Recollection,
        text: TextSink,
        stats: TurnStats,
    ) -> Answer:
        async with AsyncExitStack() as opened:
            try:
                model = await opened.enter_async_context(self._models.use(generation.model))
            except UnknownModel:
                raise
            except ModelError as error:
                log.warning("model_unavailable", model=generation.model, error=str(error))
                return _refusal("model_unavailable", "This model cannot be loaded for now.", stats)
            stats.model = model.name
            turns = recollection.turns if generation.with_history else ()
            prompt, options = fitted(model, generation, turns, max_tokens=self._max_tokens)
            inputs = Inputs(
                turns=tuple(turn.turn for turn in turns),
                said=tuple(turn for turn in turns if turn.turn.startswith("0-")),
                generation=generation,
            )
            requester, warn_wait_s = self._requester(message), self._warn_wait_s
            writing = _Writing(model, requester, text, stats, inputs, warn_wait_s=warn_wait_s)
            try:
                return await writing.answer(prompt, options)
            except ContextWindowExceeded as error:
                # Plain text is counted by nobody before; `max_tokens` is a limit, not a wish.
                room = error.limit - (error.needed - options.max_tokens)
                if prompt.messages or not 0 < room < options.max_tokens:
                    raise
                return await writing.answer(prompt, replace(options, max_tokens=room))

    def _requester(self, message: InboundMessage) -> Requester:
        requester = requester_of(message, tiers=self._tiers, channels_weight=self._channels_weight)
        if message.generation and message.generation.with_history:
            return requester
        # What a client asks again and again begins alike, whichever request it stands in.
        address = message.address
        return replace(requester, audience=f"{address.connector}:{address.account}", returns=False)


class _Writing:
    """One answer on its way from the model to the reader."""

    def __init__(
        self,
        model: ChatModel,
        requester: Requester,
        sink: TextSink,
        stats: TurnStats,
        inputs: Inputs,
        *,
        warn_wait_s: float,
    ) -> None:
        self._model = model
        self._requester = requester
        self._sink = sink
        self._stats = stats
        self._inputs = inputs
        self._warn_wait_s = warn_wait_s

    async def answer(self, prompt: Prompt, options: GenerateOptions) -> Answer:
        """Let the model write to its end."""
        stats, pieces = self._stats, list[str]()
        end: End | None = None
        noted = asking(self._model, prompt, options, self._inputs)
        # A request that did not fit was made before.
        stats.asked[:] = [noted]
        started = perf_counter()
        with timed("generate") as span:
            async with aclosing(self._model.stream(prompt, options, self._requester)) as events:
                async for event in events:
                    match event:
                        case Waiting() if event.wait_s >= self._warn_wait_s:
                            await self._sink.waiting(event.wait_s)
                        case Text():
                            stats.first_token_ms = stats.first_token_ms or (perf_counter() - started) * 1000
                            pieces.append(event.text)
                            noted.pieces.append(event.text)
                            await self._sink.add(event.text)
                        case End():
                            end = event
                            noted.is_whole = True
            span.set(model=self._model.name, first_token_ms=round(stats.first_token_ms, 1))
        stats.generate_ms = (perf_counter() - started) * 1000
        noted.answered_by(getattr(self._model, "answered_by", self._model.name))
        if end is None:
            raise ModelError(f"model {self._model.name} broke off in the middle of an answer")
        stats.prompt_tokens, stats.answer_tokens = end.prompt_tokens, end.answer_tokens
        stats.cached_tokens = end.cached_tokens
        return Answer(kind="answer", text="".join(pieces), usage=_usage(self._model.name, end), stats=stats)


def fitted(
    model: ChatModel, generation: Generation, turns: Sequence[Turn], *, max_tokens: int
) -> tuple[Prompt, GenerateOptions]:
    """Make of a request what fits into the model's window.

    The oldest turns are left out first, then the answer may be shorter; what the client wrote itself stays whole.

    Args:
        turns: earlier ones of the conversation, oldest first.
        max_tokens: of the answer, where the request names no number.

    Raises: ContextWindowExceeded: the messages alone leave no room for an answer.
    """
    options = _options(generation, max_tokens)
    if not generation.messages:
        return Prompt(text=generation.prompt), options
    said = [turn for turn in turns if turn.kind == "answer"]
    limit = model.context_length
    # A quarter of the window at most is kept for an answer that may be long, before turns are left out for it.
    reserved = min(options.max_tokens, max(1, limit // 4))
    messages = _messages(generation, said)
    size = model.count_tokens(messages)
    while said and size + reserved > limit:
        said.pop(0)
        messages = _messages(generation, said)
        size = model.count_tokens(messages)
    if size >= limit:
        raise ContextWindowExceeded(limit, size + 1)
    return Prompt(messages=messages), replace(options, max_tokens=min(options.max_tokens, limit - size))


def _options(generation: Generation, max_tokens: int) -> GenerateOptions:
    taken_over = {name: getattr(generation, name) for name in _TAKEN_OVER}
    return GenerateOptions(max_tokens=generation.max_tokens or max_tokens, **taken_over)


def _messages(generation: Generation, turns: Sequence[Turn]) -> tuple[ChatMessage, ...]:
    asked = [ChatMessage(role=message.role, text=message.text) for message in generation.messages]
    # How the model is to behave is said first, also before what was said earlier.
    position = next((n for n, message in enumerate(asked) if message.role != "system"), len(asked))
    earlier = [
        message
        for turn in turns
        for message in (
            ChatMessage(role="user", text=turn.question),
            ChatMessage(role="assistant", text=turn.answer),
        )
    ]
    return (*asked[:position], *earlier, *asked[position:])


def _usage(name: str, end: End) -> Usage:
    return Usage(
        model=name,
        prompt_tokens=end.prompt_tokens,
        answer_tokens=end.answer_tokens,
        cached_tokens=end.cached_tokens,
        finish=end.reason,
    )


def _refusal(code: str, text: str, stats: TurnStats) -> Answer:
    return Answer(kind="error", code=code, text=text, stats=stats)
