"""Asks the model and hands its answer on sentence by sentence, so that each can be checked before it is shown."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from time import perf_counter

from engine.answers import TurnStats
from engine.evidence import plain
from engine.memory.summary import Summary
from engine.models.base import ANYBODY, ChatModel, End, GenerateOptions, Requester, Text
from engine.output import visible
from engine.profiles import Profile
from engine.prompt import compose, within_budget
from engine.text import sentences
from hub.messages import Turn
from hub.settings import EngineSettings

_ENDS = (".", "!", "?", "。", "।")


class Generator:
    """Lets one model answer questions from facts."""

    def __init__(
        self, model: ChatModel, profile: Profile, settings: EngineSettings, requester: Requester = ANYBODY
    ) -> None:
        self.name = model.name
        self._model = model
        self._requester = requester
        self._profile = profile
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
        Raises: ModelError: the model failed.
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
        prompt = compose(
            self._model,
            self._profile,
            within_budget(self._model, [visible(fact) for fact in facts]),
            question,
            answer_tokens=self._options.max_tokens,
            turns=turns,
            last_turns=self._window_turns,
            summary=summary,
        )
        stats.prompt_tokens += self._model.count_tokens(prompt.messages)
        started = perf_counter()
        try:
            async with aclosing(self._model.stream(prompt, self._options, self._requester)) as events:
                async for event in events:
                    match event:
                        case Text():
                            stats.first_token_ms = stats.first_token_ms or (perf_counter() - started) * 1000
                            stats.answer_tokens += event.tokens
                            yield event.text
                        case End():
                            stats.cached_tokens += event.cached_tokens
        finally:
            stats.generate_ms += (perf_counter() - started) * 1000


def _split(text: str) -> list[str]:
    """Split off the sentences behind which another one has begun; the last one keeps a space at its end."""
    parts = sentences(text) or [""]
    if text[-1:].isspace() and parts[-1]:
        parts[-1] += " "
    return parts
