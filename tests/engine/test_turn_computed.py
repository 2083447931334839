"""Calculations as whole turns: the model tells the result, or the calculation stands for itself."""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence

import pytest

from engine.answers import Recollection
from engine.models.base import (
    ANYBODY,
    End,
    GenerateEvent,
    GenerateOptions,
    Prompt,
    Requester,
    Text,
)
from engine.symbolic import compute
from engine.turn import Answer, Assistant
from hub.errors import ModelBusy, ModelError, ModelUnavailable
from hub.messages import InboundMessage
from tests.engine.assistants import make_assistant
from tests.engine.small_retriever import SmallRetriever
from tests.engine.symbolic.questions import NOW, ORDINARY
from tests.engine.symbolic.test_solver import QUESTIONS
from tests.engine.turns import HERE, Screen
from tests.models import EchoModel


class Saying(EchoModel):
    """A model that always says the same."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    async def stream(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
    ) -> AsyncGenerator[GenerateEvent]:
        """Say it."""
        self.prompts.append(prompt.messages)
        yield Text(text=self.text)
        yield End(reason="stop", prompt_tokens=1, answer_tokens=1)


class Lying(EchoModel):
    """A model that makes something wrong of each fact it is given."""

    def __init__(self, lies: Mapping[str, str]) -> None:
        super().__init__()
        self.lies = lies
        self.told: list[str] = []

    async def stream(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
    ) -> AsyncGenerator[GenerateEvent]:
        """Say what was made of the fact."""
        fact = prompt.messages[-1].text.removeprefix("Facts: ").partition("\nQuestion: ")[0]
        self.told.append(fact)
        yield Text(text=self.lies[fact])
        yield End(reason="stop", prompt_tokens=1, answer_tokens=1)


class Missing(EchoModel):
    """A model that cannot be asked."""

    def __init__(self, error: ModelError | None = None) -> None:
        super().__init__()
        self._error = error or ModelUnavailable("it cannot be loaded")

    async def stream(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
    ) -> AsyncGenerator[GenerateEvent]:
        """Fail."""
        raise self._error
        yield


async def _ask(assistant: Assistant, text: str, language: str = "") -> Answer:
    message = InboundMessage(
        external_key="1", conversation="c", address=HERE, text=text, language=language, received_at=NOW
    )
    screen = Screen()
    answer = await assistant.answer(message, Recollection(), screen)
    assert screen.text == answer.text
    return answer


async def _ask_all(assistant: Assistant, questions: Sequence[str]) -> list[Answer]:
    """Ask several at a time, as an engine does: the model computes them together."""
    places = asyncio.Semaphore(8)

    async def ask(question: str) -> Answer:
        async with places:
            return await _ask(assistant, question)

    return await asyncio.gather(*map(ask, questions))


def _lie(number: int, sentence: str, result: str) -> str:
    """Make something wrong of a result: another one, a denial, or more than was asked."""
    wrong = re.sub(r"\d(?=\D*$)", lambda digit: str((int(digit[0]) + 1) % 10), result)
    if wrong == result:
        wrong = "Monday" if result != "Monday" else "Friday"
    before, _, after = sentence.rpartition(result)
    forms = (
        f"{before}{wrong}{after}",
        f"The answer is {wrong}.",
        f"It is not so that {sentence}",
        f"{sentence[:-1]}, and the moon is made of cheese.",
        "I cannot calculate.",
    )
    return forms[number % len(forms)]


async def test_no_model_talks_two_hundred_results_away(retriever: SmallRetriever) -> None:
    """Whatever it makes of them: it is given each result, and the answer is the calculation, to the letter."""
    computed = [found for question, _ in QUESTIONS if (found := compute(question, NOW))]
    lies = {
        each.sentence: _lie(number, each.sentence, each.result)
        for number, each in enumerate({each.sentence: each for each in computed}.values())
    }
    model = Lying(lies)

    answers = await _ask_all(make_assistant(model, retriever), [question for question, _ in QUESTIONS])

    assert len(computed) == len(QUESTIONS) >= 200
    assert sorted(model.told) == sorted(each.sentence for each in computed)
    assert [answer.text for answer in answers] == [each.sentence for each in computed]
    pairs = zip(QUESTIONS, answers, strict=True)
    assert [question for (question, result), answer in pairs if not _tells(answer, result)] == []


def _tells(answer: Answer, result: str) -> bool:
    """Whether a result stands in an answer as a whole, and not within a longer number."""
    stands = re.search(rf"(?<![\w.,-]){re.escape(result)}(?![\d]|[.,]\d)", answer.text)
    return answer.stats.route == "computed" and not answer.sources and stands is not None


@pytest.mark.timeout(600)
async def test_every_seventh_of_the_questions_is_answered_right(assistant: Assistant) -> None:
    """By the bundled model in its own words, or by the calculation; no answer is without the result."""
    asked = QUESTIONS[::7]

    answers = await _ask_all(assistant, [question for question, _ in asked])

    wrong = [
        (question, result, answer.text)
        for (question, result), answer in zip(asked, answers, strict=True)
        if not _tells(answer, result)
    ]
    assert wrong == []


async def test_no_ordinary_question_is_answered_by_a_calculation(retriever: SmallRetriever) -> None:
    """Whatever numbers stand in it."""
    assistant = make_assistant(EchoModel(), retriever)

    answers = await _ask_all(assistant, ORDINARY)

    routes = zip(ORDINARY, (answer.stats.route for answer in answers), strict=True)
    assert [question for question, route in routes if route == "computed"] == []


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("12 × 7 is 84.", "12 × 7 is 84."),
        ("The answer is 84.", "The answer is 84."),
        ("The answer is 86.", "12 × 7 = 84."),
        ("7 × 84 = 12.", "12 × 7 = 84."),
        ("It is not 84.", "12 × 7 = 84."),
        ("84, and your name is Bob.", "12 × 7 = 84."),
        ("", "12 × 7 = 84."),
    ],
)
async def test_a_wrong_answer_is_replaced_by_the_calculation(
    retriever: SmallRetriever, said: str, shown: str
) -> None:
    """The model is given the result as a fact; what it makes of it is compared with it."""
    model = Saying(said)

    answer = await _ask(make_assistant(model, retriever), "What is 12 * 7?")

    assert answer.text == shown
    assert "Facts: 12 × 7 = 84." in model.prompts[0][-1].text


@pytest.mark.parametrize("error", [ModelUnavailable("it cannot be loaded"), ModelBusy(5.0)])
async def test_a_calculation_needs_no_model(retriever: SmallRetriever, error: ModelError) -> None:
    """Where none can be loaded, or has room, it stands for itself."""
    answer = await _ask(make_assistant(Missing(error), retriever), "What is 12 * 7?")

    assert (answer.kind, answer.text) == ("answer", "12 × 7 = 84.")


async def test_numbers_are_read_in_the_language_of_the_message(retriever: SmallRetriever) -> None:
    """As its channel or its words tell it."""
    assistant = make_assistant(Missing(), retriever)

    assert (await _ask(assistant, "1.234 + 1", "de")).text == "1234 + 1 = 1235."
    assert (await _ask(assistant, "1.234 + 1", "en")).text == "1.234 + 1 = 2.234."


async def test_a_question_beside_a_calculation_is_answered_too(retriever: SmallRetriever) -> None:
    """Each in a paragraph of its own."""
    assistant = make_assistant(EchoModel(), retriever)

    answer = await _ask(assistant, "How much is an espresso? What is 12 * 7?")

    assert "1.20" in answer.text
    assert "12 × 7 = 84" in answer.text
