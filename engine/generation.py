"""Asks the model and hands its answer on sentence by sentence, so that each can be checked before it is shown."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from time import perf_counter

from engine.answers import TurnStats
from engine.asked import asking, inputs_of
from engine.evidence import plain
from engine.memory.summary import Summary
from engine.models.base import (
    ANYBODY,
    ChatModel,
    End,
    GenerateOptions,
    Prompt,
    Requester,
    Text,
    Waiting,
)
from engine.output import visible
from engine.profiles import Profile
from engine.prompt import compose, within_budget
from engine.text import sentences
from hub.messages import Turn
from hub.settings import EngineSettings
from hub.traces import step

Use = Callable[[], AbstractAsyncContextManager[ChatModel]]
_ENDS = (".", "!", "?", "。", "।")


class Generator:
    """Lets one model answer questions from facts; it is loaded when the first one comes."""

    def __init__(
        self,
        use: Use,
        profile: Profile,
        settings: EngineSettings,
        *,
        requester: Requester = ANYBODY,
        tell_waiting: Callable[[float], Awaitable[None]] | None = None,
        style: str = "",
    ) -> None:
        """Prepare to ask.

        Args:
            use: gives the model for as long as it is asked.
            profile: how it wants to be spoken to.
            settings: limits.
            requester: on whose behalf it is asked.
            tell_waiting: is told the seconds until the model begins, where they are worth a word.
            style: one line on how the person wants to be answered.
        """
        self._use = use
        self._requester = requester
        self._warn_wait_s = settings.warn_wait_s
        self._tell_waiting = tell_waiting
        self._profile = profile
        self._style = style
        self._window_turns = settings.window_turns
        self._options = GenerateOptions(max_tokens=settings.max_answer_tokens, stop=profile.stop)

    async def sentences(
        self,
        question: str,
        facts: Sequence[str],
        stats: TurnStats,
        *,
        turns: Sequence[Turn] = (),
        summary: Summary | None = None,
        may_go_on: Callable[[str], bool] = lambda _: True,
    ) -> AsyncGenerator[str]:
        """Give the sentences of an answer, each as soon as the next one begins.

        Args:
            facts: plain sentences, most important first.
            turns: the window, for a question that goes on from an earlier one.
            summary: what was asked before the window.
            may_go_on: is shown the unfinished sentence; the model is stopped where it says no.

        Yields: plain text without Markdown; a sentence that was broken off is left out.

        Raises:
            ModelUnavailable: the model cannot be loaded.
            ModelError: it failed.
        """
        rest = ""
        is_whole = True
        async with aclosing(self._pieces(question, facts, stats, turns, summary)) as pieces:
            async for piece in pieces:
                if not may_go_on(rest + piece):
                    is_whole = False
                    break
                *complete, rest = _split(rest + piece)
                for sentence in complete:
                    yield plain(visible(sentence))
        is_cut = stats.answer_tokens >= self._options.max_tokens
        last = plain(visible(rest))
        if last and (last.endswith(_ENDS) or (is_whole and not is_cut)):
            yield last

    async def text(self, question: str, facts: Sequence[str], stats: TurnStats) -> str:
        """Give a whole answer."""
        async with aclosing(self.sentences(question, facts, stats)) as found:
            return " ".join([sentence async for sentence in found])

    async def _pieces(
        self,
        question: str,
        facts: Sequence[str],
        stats: TurnStats,
        turns: Sequence[Turn],
        summary: Summary | None,
    ) -> AsyncGenerator[str]:
        started, span = perf_counter(), step("generate")
        try:
            async with self._use() as model:
                shown = within_budget(model, [visible(fact) for fact in facts])
                if facts and not shown:
                    # Whoever asked has the statements' own words.
                    return
                prompt = compose(
                    model,
                    self._profile,
                    shown,
                    question,
                    answer_tokens=self._options.max_tokens,
                    turns=turns,
                    last_turns=self._window_turns,
                    summary=summary,
                    style=self._style,
                )
                inputs = inputs_of(
                    question,
                    shown,
                    turns,
                    last_turns=self._window_turns,
                    summary=summary.entries if summary else None,
                    style=self._style,
                )
                stats.asked.append(asking(model, prompt, self._options, inputs))
                stats.prompt_tokens += model.count_tokens(prompt.messages)
                async with aclosing(self._texts(model, prompt, stats)) as texts:
                    async for text in texts:
                        stats.first_token_ms = stats.first_token_ms or (perf_counter() - started) * 1000
                        yield text
        finally:
            stats.generate_ms += (perf_counter() - started) * 1000
            span.set(model=stats.model, first_token_ms=round(stats.first_token_ms, 1))
            span.end()

    async def _texts(self, model: ChatModel, prompt: Prompt, stats: TurnStats) -> AsyncGenerator[str]:
        noted = stats.asked[-1]
        async with aclosing(model.stream(prompt, self._options, self._requester)) as events:
            async for event in events:
                # The one that answers may be a fallback.
                stats.model = getattr(model, "answered_by", model.name)
                noted.answered_by(stats.model)
                match event:
                    case Waiting():
                        if self._tell_waiting and event.wait_s >= self._warn_wait_s:
                            await self._tell_waiting(event.wait_s)
                    case Text():
                        stats.answer_tokens += event.tokens
                        noted.pieces.append(event.text)
                        yield event.text
                    case End():
                        noted.is_whole = True
                        stats.cached_tokens += event.cached_tokens


def _split(text: str) -> list[str]:
    """Split off the sentences behind which another one has begun; the last one keeps a space at its end."""
    parts = sentences(text) or [""]
    if text[-1:].isspace() and parts[-1]:
        parts[-1] += " "
    return parts
