"""A model that has no more room: messages wait without a failed attempt, clients are told when to come again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine.direct import DirectAnswers
from engine.models.llama.model import LlamaChatModel
from engine.turn import Assistant
from hub.bus.bus import INBOUND
from hub.bus.consumer import ConsumerOptions
from hub.bus.counts import FAILED
from hub.messages import Generation, OutboundMessage, PromptMessage
from hub.settings import EngineSettings, KnowledgeSettings
from tests.engine.assistants import LoadedModels
from tests.engine.bench import Bench, Script
from tests.engine.models.llama.asking import LIMIT_S, small_model
from tests.engine.small_retriever import SmallRetriever

MESSAGES = 4


@pytest.fixture
async def crowded() -> AsyncIterator[LlamaChatModel]:
    """A model that answers one at a time, and lets one more wait."""
    async with small_model(parallel=1, waiting_tokens=60) as model:
        yield model


def direct(model: LlamaChatModel) -> Script:
    """Answer requests to the model itself."""
    return DirectAnswers(LoadedModels({"small": model}), engine=EngineSettings(), tiers={}).answer


async def answered(bench: Bench, script: Script, **more: Any) -> list[OutboundMessage]:
    """Send messages of one person, each in a conversation of its own, and wait until all have a reply."""
    worker = bench.worker(script)
    options = ConsumerOptions(concurrency=MESSAGES, drain_timeout_s=1, backoff_s=0.01)
    [consumer] = bench.bus.consumers(INBOUND, handle=worker.handle, bury=worker.bury, options=options)
    stop = asyncio.Event()
    working = asyncio.create_task(consumer.run(stop))
    said = PromptMessage(role="user", text="Count to one hundred, please.")
    asked = Generation(model="small", messages=(said,), max_tokens=24)
    for number in range(MESSAGES):
        await bench.published(f"{number}", conversation=f"c{number}", generation=asked, **more)
    async with asyncio.timeout(LIMIT_S):
        while len(replies := await bench.replies()) < MESSAGES:
            await asyncio.sleep(0.02)
    stop.set()
    await working
    return replies


async def test_messages_wait_for_a_busy_model_and_none_counts_as_failed(
    bench: Bench, crowded: LlamaChatModel
) -> None:
    """However often they have to come again: no dead letter, no attempt fewer."""
    with capture_logs() as logs:
        replies = await answered(bench, direct(crowded))

    assert [log for log in logs if log["event"] == "model_busy"]
    assert {reply.kind for reply in replies} == {"answer"}
    assert len({reply.conversation for reply in replies}) == MESSAGES
    assert not any(bench.bus.counts.of(FAILED).values())
    assert await bench.bus.dead_letters.list() == []
    assert await bench.bus.backlog() == 0


async def test_who_comes_again_by_themselves_is_refused_at_once(
    bench: Bench, crowded: LlamaChatModel
) -> None:
    """With the seconds after which there may be room; what the model had taken is answered."""
    replies = await answered(bench, direct(crowded), is_refusable=True)

    refused = [reply for reply in replies if reply.kind == "error"]
    assert {reply.code for reply in refused} == {"model_busy"}
    assert all(reply.retry_after_s >= 1 and str(reply.retry_after_s) in reply.text for reply in refused)
    assert 2 <= MESSAGES - len(refused) < MESSAGES


async def test_a_person_is_told_what_a_small_model_can_hold(bench: Bench, retriever: SmallRetriever) -> None:
    """The numbers are those of the model and of what it would have been asked."""
    async with small_model(parallel=1, context_length=256) as model:
        assistant = Assistant(
            LoadedModels({"small": model}),
            retriever,
            engine=EngineSettings(),
            knowledge=KnowledgeSettings(),
            tiers={},
        )
        for text in ("My name is Omdeep.", "What is my name?"):
            await bench.answered(text, assistant.answer)

    reply = (await bench.replies())[-1]
    assert (reply.kind, reply.code) == ("error", "context_length_exceeded")
    assert "hold 256" in reply.text
    needed = int(reply.text.split("at least ")[1].split()[0])
    assert EngineSettings().max_answer_tokens + 50 < needed < 1000
