"""Who answers a message."""

from typing import Any

from engine.answering import Answering
from engine.answers import Answer, Recollection, TextSink, TurnStats
from hub.messages import Address, Generation, InboundMessage, PromptMessage
from tests.engine.turns import Screen

KEY = Address(connector="api", account="key-1", chat="s", person="key-1:s")


class Named:
    """Says who it is, and remembers what it was given."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[Recollection] = []

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Say the name."""
        self.seen.append(recollection)
        stats = TurnStats(model="m", prompt_tokens=5, answer_tokens=2, total_ms=250)
        return Answer(kind="answer", text=self.name, stats=stats)


def message(**fields: Any) -> InboundMessage:
    """Make a message."""
    return InboundMessage(external_key="1", conversation="c", address=KEY, text="Hi", **fields)


async def test_a_model_is_asked_itself_only_where_a_client_wants_it() -> None:
    """A message with a generation goes to the model, any other to the assistant."""
    answering = Answering(Named("assistant"), Named("direct"))

    answers = [
        await answering.answer(asked, Recollection(), Screen())
        for asked in (message(), message(generation=Generation(model="m", prompt="x")))
    ]

    assert [answer.text for answer in answers] == ["assistant", "direct"]


async def test_what_the_assistant_cost_is_told_too() -> None:
    """Tokens and time, as for a model itself."""
    answer = await Answering(Named("assistant"), Named("direct")).answer(message(), Recollection(), Screen())

    assert answer.usage is not None
    assert (answer.usage.model, answer.usage.prompt_tokens, answer.usage.answer_tokens) == ("m", 5, 2)
    assert answer.usage.processing_s == 0.25


async def test_a_conversation_the_client_keeps_is_remembered_like_one_kept_here() -> None:
    """Questions with their answers become turns, and what the person told is learned from them."""
    assistant = Named("assistant")
    said: list[tuple[Any, str]] = [
        ("system", "Be brief."),
        ("user", "My name is Maria."),
        ("assistant", "Nice to meet you."),
        ("user", "Where is my data?"),
        ("assistant", "In the folder data."),
    ]
    earlier = tuple(PromptMessage(role=role, text=text) for role, text in said)

    await Answering(assistant, Named("direct")).answer(message(earlier=earlier), Recollection(), Screen())

    [recollection] = assistant.seen
    assert [(turn.question, turn.answer) for turn in recollection.turns] == [
        ("My name is Maria.", "Nice to meet you."),
        ("Where is my data?", "In the folder data."),
    ]
    assert "Maria" in recollection.facts["name"]
