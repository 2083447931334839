"""Turns and the model that answers them: chosen by the message or the conversation, busy, or not to be had."""

from collections.abc import AsyncGenerator, Mapping

import pytest
from structlog.testing import capture_logs

from engine import replies
from engine.answers import Answer, Recollection
from engine.models.base import ANYBODY, GenerateEvent, GenerateOptions, Prompt, Requester, Waiting
from engine.turn import Assistant
from hub.errors import ModelError
from hub.messages import InboundMessage
from hub.model_settings import GgufSettings
from hub.settings import EngineSettings, KeySettings, KnowledgeSettings
from tests.engine.assistants import LoadedModels, make_assistant
from tests.engine.small_retriever import SmallRetriever
from tests.engine.turns import HERE, Screen
from tests.models import EchoModel

FACTS = {"name": "The user's name is Omdeep."}


class BusyModel(EchoModel):
    """Lets people wait before it begins."""

    def __init__(self, *waits_s: float, name: str = "echo") -> None:
        super().__init__(name=name)
        self._waits_s = waits_s

    async def stream(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
    ) -> AsyncGenerator[GenerateEvent]:
        """Tell the waits, then answer."""
        for wait_s in self._waits_s:
            yield Waiting(wait_s=wait_s)
        async for event in super().stream(prompt, options, requester):
            yield event


async def turn(
    assistant: Assistant,
    text: str = "What is my name?",
    *,
    model: str = "",
    preferences: Mapping[str, str] | None = None,
    screen: Screen | None = None,
) -> Answer:
    """Ask about what is remembered, which the model has to put into words."""
    message = InboundMessage(external_key="1", conversation="c", address=HERE, text=text, model=model)
    recollection = Recollection(facts=FACTS, preferences=preferences or {})
    screen = screen or Screen()
    answer = await assistant.answer(message, recollection, screen)
    assert screen.text == answer.text
    return answer


async def test_message_then_conversation_then_settings_choose_the_model(retriever: SmallRetriever) -> None:
    """In this order."""
    assistant = make_assistant(EchoModel(), retriever, {"other": EchoModel(name="other")})
    preferences = {"model": "other"}

    asked = [
        await turn(assistant),
        await turn(assistant, preferences=preferences),
        await turn(assistant, model="echo", preferences=preferences),
        await turn(assistant, model="general", preferences=preferences),
    ]

    assert [answer.stats.model for answer in asked] == ["echo", "other", "echo", "echo"]


async def test_a_model_nobody_knows_is_an_error_with_the_names_there_are(retriever: SmallRetriever) -> None:
    """For a client that named it in its message; a conversation whose choice is gone goes on."""
    assistant = make_assistant(EchoModel(), retriever)

    answer = await turn(assistant, model="gone")

    assert (answer.kind, answer.code) == ("error", "model_not_found")
    assert "there are: echo" in answer.text
    assert (await turn(assistant, preferences={"model": "gone"})).stats.model == "echo"


async def test_a_model_that_cannot_be_loaded_is_told_to_the_person(retriever: SmallRetriever) -> None:
    """Once and clearly, and the operator finds it in the log; nothing is tried again and again."""
    models = LoadedModels({"echo": EchoModel()})
    models.registry.put("missing", GgufSettings(path="missing.gguf"))
    assistant = Assistant(
        models, retriever, engine=EngineSettings(), knowledge=KnowledgeSettings(), tiers=KeySettings().tiers
    )

    with capture_logs() as logs:
        answer = await turn(assistant, preferences={"model": "missing"})

    assert (answer.kind, answer.code) == ("error", "model_unavailable")
    assert answer.text == replies.MODEL_UNAVAILABLE
    assert [(log["event"], log["model"]) for log in logs] == [("model_unavailable", "missing")]
    # What needs no model is answered as ever.
    assert (await turn(assistant, "hello", preferences={"model": "missing"})).kind == "answer"


async def test_a_model_that_fails_under_way_fails_the_turn(retriever: SmallRetriever) -> None:
    """The worker tries it again, and then the model may have been loaded anew."""

    class FailingModel(EchoModel):
        async def stream(
            self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
        ) -> AsyncGenerator[GenerateEvent]:
            raise ModelError("the process of the model ended (SIGKILL)")
            yield

    with pytest.raises(ModelError, match="SIGKILL"):
        await turn(make_assistant(FailingModel(), retriever))


async def test_a_long_wait_is_shown_and_a_short_one_is_not(retriever: SmallRetriever) -> None:
    """`engine.warn_wait_s` is the limit."""
    screen = Screen()

    await turn(make_assistant(BusyModel(2.9, 3.0, 12.5), retriever), screen=screen)

    assert screen.waits == [3.0, 12.5]


async def test_the_model_is_asked_on_behalf_of_the_person(retriever: SmallRetriever) -> None:
    """What was computed for a conversation is for no other."""
    model = EchoModel()

    await turn(make_assistant(model, retriever))

    [requester] = model.requesters
    assert (requester.audience, requester.person) == ("c", "web:site:visitor")
