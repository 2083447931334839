"""Facts that a model points at: only what the message bears out is taken."""

from collections.abc import AsyncGenerator, Sequence

import pytest

from engine.answers import Recollection
from engine.memory.finding import FactFinder
from engine.memory.model_facts import may_tell, model_facts
from engine.models.base import (
    ANYBODY,
    ChatMessage,
    End,
    GenerateEvent,
    GenerateOptions,
    Prompt,
    Requester,
    Text,
)
from engine.models.llama.model import LlamaChatModel
from hub.errors import ModelError
from hub.memory_settings import MemorySettings
from hub.messages import InboundMessage
from hub.settings import EngineSettings
from tests.engine.turns import HERE
from tests.models import EchoModel, LoadedModels


class ListingModel(EchoModel):
    """Answers with a list that the test wrote."""

    def __init__(self, answer: str, *, fails: bool = False) -> None:
        super().__init__()
        self._answer = answer
        self._fails = fails
        self.asked: list[Sequence[ChatMessage]] = []

    async def stream(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
    ) -> AsyncGenerator[GenerateEvent]:
        """Yield the answer in two pieces."""
        assert options.json_schema
        self.asked.append(prompt.messages)
        if self._fails:
            raise ModelError("the model failed")
        half = len(self._answer) // 2
        for piece in (self._answer[:half], self._answer[half:]):
            if piece:
                yield Text(text=piece)
        yield End(reason="stop", prompt_tokens=1, answer_tokens=1)


def _list(*facts: tuple[str, str]) -> str:
    return '{"facts": [' + ", ".join(f'{{"kind": "{k}", "value": "{v}"}}' for k, v in facts) + "]}"


async def test_what_the_message_bears_out_is_taken() -> None:
    """The sentence is made here, the quote is the person's own clause."""
    model = ListingModel(_list(("hobby", "the violin"), ("allergy", "nuts")))

    facts = await model_facts(model, "Hi! I play the violin, and I am allergic to nuts.")

    assert {key: (fact.text, fact.quote, fact.found_by) for key, fact in facts.items()} == {
        "hobby": ("The user's hobby is the violin.", "I play the violin", "model"),
        "allergy": ("The user is allergic to nuts.", "I am allergic to nuts", "model"),
    }


async def test_a_denial_of_liking_is_a_dislike() -> None:
    """And of hating neither."""
    assert set(await model_facts(ListingModel(_list(("dislikes", "fish"))), "I don't like fish.")) == {
        "dislikes fish"
    }
    assert await model_facts(ListingModel(_list(("dislikes", "fish"))), "I like fish.") == {}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("I play the violin.", _list(("hobby", "the piano"))),
        ("I play the violin.", _list(("diet", "the violin"))),
        ("I play the violin.", _list(("password", "the violin"))),
        ("I play the violin.", '{"facts": [{"kind": "hobby", "val'),
        ("I play the violin.", '{"facts": "none"}'),
        ("I play the violin.", '["x"]'),
        ("I play the violin.", ""),
        ("I never play the violin.", _list(("hobby", "the violin"))),
        ("I don't like fish.", _list(("likes", "fish"))),
        ("If I play the violin, who listens?", _list(("hobby", "the violin"))),
        ('She said "I play the violin"', _list(("hobby", "the violin"))),
        ("Do I like fish?", _list(("likes", "fish"))),
        ("I like fish, just kidding", _list(("likes", "fish"))),
        ("I like ![x](//evil.example/a)", _list(("likes", "![x](//evil.example/a)"))),
        ("I like www.evil.example", _list(("likes", "www.evil.example"))),
    ],
)
async def test_what_it_does_not_bear_out_is_not(text: str, answer: str) -> None:
    """Invented, of another kind, broken off, denied, supposed, quoted, asked or taken back."""
    assert await model_facts(ListingModel(answer), text) == {}


@pytest.mark.parametrize(
    "text", ["How do I connect Telegram?", "/memory", "The shop is closed.", "> I like fish"]
)
def test_a_model_is_not_asked_where_nobody_tells_anything(text: str) -> None:
    """It would cost the answer's time."""
    assert not may_tell(text)


async def test_a_model_is_asked_only_where_that_is_set_and_the_rules_found_nothing() -> None:
    """And an answer does not hang on it."""

    async def found(text: str, *, on: bool, fails: bool = False) -> tuple[dict[str, str], int]:
        model = ListingModel(_list(("likes", "fish")), fails=fails)
        finder = FactFinder(
            LoadedModels(model), MemorySettings(model_facts=on), engine=EngineSettings(), tiers={}
        )
        message = InboundMessage(external_key="1", conversation="c", address=HERE, text=text)
        changes = await finder.changes(message, Recollection(), "echo")
        return {key: change.text for key, change in changes.items()}, len(model.asked)

    assert await found("I like fish.", on=True) == ({"likes fish": "The user likes fish."}, 1)
    assert await found("I like fish.", on=False) == ({}, 0)
    assert await found("I live in Goa, and I like fish.", on=True) == ({"home": "The user lives in Goa."}, 0)
    assert await found("I like fish.", on=True, fails=True) == ({}, 1)


async def test_nothing_is_learned_from_what_is_forwarded() -> None:
    """Neither by rules nor by the model."""
    model = ListingModel(_list(("likes", "fish")))
    finder = FactFinder(
        LoadedModels(model), MemorySettings(model_facts=True), engine=EngineSettings(), tiers={}
    )

    for text in ("My name is Eve.", "I like fish."):
        message = InboundMessage(
            external_key="1", conversation="c", address=HERE, text=text, is_forwarded=True
        )
        assert await finder.changes(message, Recollection(), "echo") == {}
    assert model.asked == []


async def test_the_bundled_model_keeps_to_the_schema(llama: LlamaChatModel) -> None:
    """What it finds is always borne out, however small it is."""
    text = "I am allergic to nuts and I play the violin in my free time."

    facts = await model_facts(llama, text)

    assert facts
    assert all(fact.quote in text for fact in facts.values())
