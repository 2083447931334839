"""Requests to a model itself: what it is given, and what comes back."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from engine.answers import Answer, Recollection
from engine.direct import DirectAnswers
from engine.models.base import (
    ANYBODY,
    ChatModel,
    GenerateEvent,
    GenerateOptions,
    Prompt,
    Requester,
    Text,
    Waiting,
)
from hub.errors import ModelError, OptionRefused
from hub.messages import Address, Generation, InboundMessage, PromptMessage, Turn, utc_now
from hub.settings import EngineSettings, KeySettings
from tests.engine.turns import Screen
from tests.models import EchoModel, LoadedModels

KEY = Address(connector="api", account="key-1", chat="s", person="key-1:s")


def user(text: str) -> PromptMessage:
    """A message of the client's user."""
    return PromptMessage(role="user", text=text)


def said_before(*pairs: tuple[str, str], kind: Any = "answer") -> list[Turn]:
    """Turns of the conversation, oldest first."""
    return [
        Turn(turn=f"1-{n}", question=asked, answer=told, kind=kind, asked_at=utc_now(), answered_at=utc_now())
        for n, (asked, told) in enumerate(pairs)
    ]


def request(generation: Generation, **more: Any) -> InboundMessage:
    """Put a request into a message of a pro key."""
    fields = {"external_key": "1", "conversation": "c", "address": KEY, "text": "", "tier": "pro"}
    return InboundMessage.model_validate({**fields, "generation": generation, **more})


async def answered(
    model: EchoModel, generation: Generation, turns: Sequence[Turn] = (), **more: Any
) -> tuple[Answer, str]:
    """Ask the model; returns the answer and what was shown on the way."""
    direct = DirectAnswers(LoadedModels(model), engine=EngineSettings(), tiers=KeySettings().tiers)
    screen = Screen()
    answer = await direct.answer(request(generation, **more), Recollection(turns=turns), screen)
    return answer, screen.text


async def test_the_model_gets_what_the_client_wrote() -> None:
    """Messages in their order with their roles, options as they were set, and nothing of the assistant's."""
    model = EchoModel()
    messages = (PromptMessage(role="system", text="Be brief."), user("Hi"), user("one two three"))
    asked = Generation(
        model="echo", messages=messages, max_tokens=2, temperature=0.5, seed=7, stop=("END",), top_k=3
    )

    answer, shown = await answered(model, asked)

    assert [(message.role, message.text) for message in model.prompts[0]] == [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("user", "one two three"),
    ]
    options = model.options[0]
    assert (options.max_tokens, options.temperature, options.seed) == (2, 0.5, 7)
    assert (options.stop, options.top_k) == (("END",), 3)
    assert answer.text == shown == "one two"


async def test_what_it_cost_is_told() -> None:
    """Tokens, why the answer ended, and which model wrote it."""
    answer, _ = await answered(EchoModel(), Generation(model="echo", messages=(user("a b c"),), max_tokens=2))

    usage = answer.usage
    assert usage is not None
    assert (usage.model, usage.prompt_tokens, usage.answer_tokens, usage.finish) == ("echo", 4, 2, "length")
    assert usage.processing_s > 0
    assert (answer.stats.route, answer.stats.prompt_tokens, answer.stats.answer_tokens) == ("model", 4, 2)


async def test_a_prompt_is_continued_as_it_stands() -> None:
    """Without messages the text goes to the model without a template, and an answer is no longer than there is room."""
    model = EchoModel(context_length=12)

    answer, _ = await answered(model, Generation(model="echo", prompt="once upon a time", max_tokens=500))

    assert answer.text == "once upon a time"
    assert model.options[0].max_tokens == 8


async def test_a_session_goes_on_from_what_was_said() -> None:
    """Earlier turns stand between the system's message and the new one; errors are no part of them."""
    model = EchoModel()
    turns = [*said_before(("Who?", "Me.")), *said_before(("Broken", "Sorry"), kind="error")]
    system = PromptMessage(role="system", text="Be brief.")
    asked = Generation(model="echo", messages=(system, user("And you?")), with_history=True)

    await answered(model, asked, turns)

    texts = [message.text for message in model.prompts[0]]
    assert texts == ["Be brief.", "Who?", "Me.", "And you?"]


async def test_only_a_session_is_given_its_history() -> None:
    """A request that stands alone is answered alone."""
    model = EchoModel()

    await answered(model, Generation(model="echo", messages=(user("Hi"),)), said_before(("Who?", "Me.")))

    assert [message.text for message in model.prompts[0]] == ["Hi"]


async def test_the_oldest_turns_make_room_first() -> None:
    """What does not fit is left out from its beginning; the new message stays whole."""
    model = EchoModel(context_length=40)
    turns = said_before(*((f"question {n} of many", f"answer {n} of many") for n in range(5)))

    await answered(model, Generation(model="echo", messages=(user("new"),), with_history=True), turns)

    texts = [message.text for message in model.prompts[0]]
    assert texts == [
        *("question 3 of many", "answer 3 of many", "question 4 of many", "answer 4 of many"),
        "new",
    ]
    assert model.options[0].max_tokens == 40 - 22


async def test_a_prompt_past_the_window_is_refused_with_the_limit() -> None:
    """Nothing of what the client wrote is cut; it reads how much the model holds."""
    model = EchoModel(context_length=8)

    answer, shown = await answered(model, Generation(model="echo", messages=(user("a b c d e f g h"),)))
    text, _ = await answered(model, Generation(model="echo", prompt="a b c d e f g h i"))

    for refused in (answer, text):
        assert (refused.kind, refused.code) == ("error", "context_length_exceeded")
        assert "holds 8" in refused.text
    assert shown == ""
    assert model.prompts == []


async def test_an_unknown_model_is_refused_with_those_there_are() -> None:
    """The client reads the names it can choose from."""
    answer, _ = await answered(EchoModel(), Generation(model="gpt-9", messages=(user("Hi"),)))

    assert (answer.kind, answer.code) == ("error", "model_not_found")
    assert "echo" in answer.text


class Refusing(EchoModel):
    """A model that cannot do what is asked, or fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def stream(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
    ) -> AsyncGenerator[GenerateEvent]:
        """Fail at once."""
        if self.error:
            raise self.error
        yield Text(text="never")


async def test_a_long_wait_is_told_and_a_short_one_is_not() -> None:
    """`engine.warn_wait_s` is the limit here, too."""

    class Crowded(EchoModel):
        async def stream(
            self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
        ) -> AsyncGenerator[GenerateEvent]:
            for wait_s in (2.9, 3.0, 12.5):
                yield Waiting(wait_s=wait_s)
            async for event in super().stream(prompt, options, requester):
                yield event

    direct = DirectAnswers(LoadedModels(Crowded()), engine=EngineSettings(), tiers={})
    screen = Screen()

    await direct.answer(request(Generation(model="echo", messages=(user("Hi"),))), Recollection(), screen)

    assert screen.waits == [3.0, 12.5]


async def test_an_option_the_model_refuses_is_the_clients_to_change() -> None:
    """The reason is told; the turn is not tried again."""
    model = Refusing(OptionRefused("the grammar does not parse"))

    answer, _ = await answered(model, Generation(model="echo", messages=(user("Hi"),), grammar="?"))

    assert (answer.kind, answer.code) == ("error", "option_refused")
    assert answer.text == "the grammar does not parse"


async def test_a_model_that_fails_is_tried_again() -> None:
    """The error goes to the worker, which counts the attempt."""
    with pytest.raises(ModelError, match="broke"):
        await answered(Refusing(ModelError("broke")), Generation(model="echo", messages=(user("Hi"),)))


async def test_a_model_that_cannot_be_loaded_is_told_at_once() -> None:
    """Its path and reason are the operator's to read, not the client's."""

    class Unloadable:
        @asynccontextmanager
        async def use(self, name: str) -> AsyncIterator[ChatModel]:
            raise ModelError("/secret/path is missing")
            yield

    direct = DirectAnswers(Unloadable(), engine=EngineSettings(), tiers={})

    answer = await direct.answer(
        request(Generation(model="m", messages=(user("Hi"),))), Recollection(), Screen()
    )

    assert (answer.kind, answer.code) == ("error", "model_unavailable")
    assert "secret" not in answer.text


async def test_prompts_are_matched_with_those_of_the_same_client_only() -> None:
    """A client's requests share what was computed, a session keeps to itself; its tier says how large its share is."""
    model = EchoModel()
    asked = Generation(model="echo", messages=(user("Hi"),))

    await answered(model, asked)
    await answered(model, asked.model_copy(update={"with_history": True}))
    await answered(model, asked, tier="")

    alone, session, person = model.requesters
    assert (alone.audience, alone.person, alone.tier, alone.weight) == ("api:key-1", "api:key-1", "pro", 4.0)
    assert not alone.returns
    assert (session.audience, session.person, session.returns) == ("c", "api:key-1", True)
    assert (person.tier, person.weight, person.person) == (
        "",
        EngineSettings().channels_weight,
        "api:key-1:key-1:s",
    )
