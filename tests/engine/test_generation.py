"""Sentences of a generated answer, each as soon as it is complete."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import nullcontext

import pytest

from engine.answers import TurnStats
from engine.generation import Generator
from engine.models.base import ANYBODY, GenerateEvent, GenerateOptions, Prompt, Requester, Text
from engine.profiles import profile_named
from hub.settings import EngineSettings
from tests.models import EchoModel


class _Reciter(EchoModel):
    """Says the same pieces whatever it is asked, and counts how many were taken."""

    def __init__(self, pieces: Sequence[str]) -> None:
        super().__init__()
        self.pieces = pieces
        self.taken = 0

    async def stream(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
    ) -> AsyncGenerator[GenerateEvent]:
        """Yield the pieces."""
        for piece in self.pieces[: options.max_tokens]:
            self.taken += 1
            yield Text(text=piece)


def _generator(model: EchoModel, max_answer_tokens: int = 200) -> Generator:
    settings = EngineSettings(max_answer_tokens=max_answer_tokens)
    return Generator(lambda: nullcontext(model), profile_named("smollm2"), settings)


async def test_a_sentence_comes_as_soon_as_the_next_begins() -> None:
    """Nothing waits for the end of the answer."""
    model = _Reciter(["It opens", " at 9.30.", " It", " closes", " at six."])

    found = _generator(model).sentences("When?", ["x"], TurnStats())

    assert await anext(found) == "It opens at 9.30."
    assert model.taken == 3
    assert await anext(found) == "It closes at six."


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["Ask", " Dr.", " Smith", " e.g.", " now"], ["Ask Dr. Smith e.g. now"]),
        (["**One", ".** Two", ". "], ["One.", "Two."]),
        (["One. ", "", " Two"], ["One.", "Two"]),
        ([], []),
        ([" ", "\n"], []),
    ],
)
async def test_sentences_do_not_depend_on_how_they_are_cut(pieces: list[str], expected: list[str]) -> None:
    """Abbreviations end none, and Markdown is dropped."""
    found = _generator(_Reciter(pieces)).sentences("?", ["x"], TurnStats())

    assert [sentence async for sentence in found] == expected


async def test_a_sentence_that_is_broken_off_is_left_out() -> None:
    """By the limit of tokens, or because it leaves what is known."""
    pieces = ["It opens.", " It closes", " at", " six."]
    limited = _generator(_Reciter(pieces), 3).sentences("?", ["x"], TurnStats())
    stopped = _generator(_Reciter(pieces)).sentences(
        "?", ["x"], TurnStats(), may_go_on=lambda text: "at" not in text
    )

    assert [sentence async for sentence in limited] == ["It opens."]
    assert [sentence async for sentence in stopped] == ["It opens."]
