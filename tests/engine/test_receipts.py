"""Every answer keeps what it was made of: the same tokens are built again, and the same model says the same bytes."""

import sys
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from engine.answering import Answering
from engine.asked import digest_of
from engine.cache import PROMPT_VERSION
from engine.direct import DirectAnswers
from engine.memory.conversation import ConversationMemory
from engine.models.base import ChatMessage, Prompt
from engine.models.llama.model import LlamaChatModel
from engine.profiles import PROFILES
from engine.receipts import AnswerReceipt, ReceiptBook, Receipts
from engine.replay import CannotReplay, Replay
from engine.turn import Assistant
from engine.worker import Worker
from hub.bus.keys import Keys
from hub.messages import Address, Generation, PromptMessage
from hub.people import People
from hub.settings import EngineSettings, KeySettings
from tests.engine.assistants import LoadedModels, make_assistant
from tests.engine.bench import Bench
from tests.engine.small_retriever import SmallRetriever

ASKED = (
    "My name is Omdeep.",
    "What is my name?",
    "How much is an espresso?",
    "Which drinks are there?",
    "And when does the café open?",
)


async def _identity(model: str) -> str:
    return f"hash of {model}"


async def _version() -> int:
    return 7


class Hub:
    """A worker that keeps receipts, on the bundled model."""

    def __init__(
        self, bench: Bench, assistant: Assistant, llama: LlamaChatModel, *, profile: str = "smollm2"
    ) -> None:
        self.bench = bench
        models = LoadedModels({llama.name: llama}, profile=profile)
        answers = Answering(
            assistant, DirectAnswers(models, engine=EngineSettings(), tiers=KeySettings().tiers)
        )
        self.worker = Worker(
            bench.bus,
            bench.live,
            answers,
            memory=ConversationMemory(bench.bus, People(bench.bus.redis), history_turns=50, recalled_turns=6),
            turn_timeout_s=60,
            receipts=Receipts(
                keep=20, identity=_identity, knowledge_version=_version, versions={"hub": "test"}
            ),
        )
        self.book = ReceiptBook(bench.bus.redis, shards=1)
        self.replay = Replay(models, models.registry, bench.bus.history, max_answer_tokens=200)

    async def ask(self, text: str, **more: Any) -> AnswerReceipt:
        """Let a message be answered; returns its receipt."""
        lease = await self.bench.entered(text, **more)
        await self.bench.queue.commit(lease, "me", await self.worker.handle(lease))
        receipt = await self.book.of(lease.head)
        assert receipt is not None
        return receipt


@pytest.fixture
def hub(bench: Bench, assistant: Assistant, llama: LlamaChatModel) -> Hub:
    """An empty hub."""
    return Hub(bench, assistant, llama)


async def test_the_same_tokens_and_the_same_bytes_come_again(hub: Hub) -> None:
    """Whether the model was asked from memory or documents, with a window or without, and wherever it was stopped."""
    receipts = [await hub.ask(text) for text in ASKED]
    asked = [receipt for receipt in receipts if receipt.asked]

    replayed = [one for receipt in asked for one in await hub.replay.replay(receipt)]

    sys.stderr.write(
        f"\nreceipts: {len(asked)} of {len(ASKED)} turns asked a model, {len(replayed)} requests\n"
    )
    assert len(replayed) >= 2
    assert [one.differences for one in replayed] == [()] * len(replayed)
    assert all(one.prompt.of == "tokens" and one.prompt.tokens > 10 for one in replayed)
    told = next(receipt for receipt in receipts if receipt.facts)
    assert told.facts == ("name",)
    assert any(receipt.chunks for receipt in receipts)
    assert receipts[0].versions == {"hub": "test", "prompts": str(PROMPT_VERSION), "documents": "7"}


async def test_how_a_person_wants_to_be_answered_is_part_of_the_receipt(
    bench: Bench, retriever: SmallRetriever, llama: LlamaChatModel
) -> None:
    """And neither it nor what is remembered changes an earlier answer when it is changed later."""
    assert PROFILES["general"].follows_style
    hub = Hub(bench, make_assistant(llama, retriever, profile="general"), llama, profile="general")
    for text in ("/style formal long, in German", "My name is Omdeep."):
        await hub.ask(text)
    receipt = await hub.ask("What is my name?")
    for text in ("/style informal short", "My name is Rohan.", "/memory forget 1"):
        await hub.ask(text)

    [again] = await hub.replay.replay(receipt)

    assert again.differences == ()
    assert receipt.asked[0].inputs
    assert receipt.asked[0].inputs.style == "Answer in German, in detail, formally."
    [shadowed] = await hub.replay.shadow(receipt, "smollm2-135m")
    assert shadowed.is_same


@pytest.mark.parametrize(("temperature", "seed"), [(0.0, 0), (0.9, 42)])
async def test_what_a_client_asks_a_model_is_asked_again(hub: Hub, temperature: float, seed: int) -> None:
    """Greedy or drawn by a seed."""
    generation = Generation(
        model="smollm2-135m",
        messages=(PromptMessage(role="user", text="Tell me about the sea."),),
        max_tokens=24,
        temperature=temperature,
        seed=seed,
    )
    receipt = await hub.ask("", generation=generation, external_key="direct")

    [again] = await hub.replay.replay(receipt)

    assert again.differences == ()
    assert again.answer == receipt.asked[0].answer != ""


async def test_what_differs_is_told(hub: Hub) -> None:
    """Another model, another prompt, another answer: each in words."""
    receipt = await _asked(hub)
    asked = receipt.asked[0]
    assert asked.inputs
    changed = asked.model_copy(
        update={
            "answer": "X" + asked.answer,
            "model_hash": "other",
            "inputs": asked.inputs.model_copy(update={"facts": ("The moon is made of cheese.",)}),
        }
    )
    hub.replay.identities[asked.model] = await _identity(asked.model)

    [again] = await hub.replay.replay(receipt.model_copy(update={"asked": (changed,)}))

    assert [again.is_same_model, again.is_same_prompt, again.is_same_answer] == [False] * 3
    assert "has other settings or files" in again.differences[0]
    assert "of the prompt differs" in again.differences[1]
    assert "differ from character 0" in again.differences[2]


async def _asked(hub: Hub) -> AnswerReceipt:
    for text in ASKED:
        receipt = await hub.ask(text)
        if receipt.asked:
            return receipt
    raise AssertionError("the model was never asked")


async def test_what_cannot_be_built_again_is_said(hub: Hub) -> None:
    """No model was asked, an earlier turn is gone, or the prompt was too long to keep."""
    fixed = await hub.ask("/help")
    receipt = await _asked(hub)
    asked = receipt.asked[0]
    assert asked.inputs
    gone = asked.model_copy(update={"inputs": asked.inputs.model_copy(update={"turns": ("1-1",)})})

    for broken, why in (
        (fixed, "no model was asked"),
        (receipt.model_copy(update={"asked": (gone,)}), "not kept any more"),
        (receipt.short(), "too long"),
    ):
        with pytest.raises(CannotReplay, match=why):
            await hub.replay.replay(broken)


async def test_a_shadow_touches_nobody(hub: Hub, redis: Redis) -> None:
    """Redis is byte for byte what it was; a model that fails is told of, and the others go on."""
    for text in ASKED:
        await hub.ask(text)
    latest = await hub.book.latest(50)
    before = await picture(redis)

    shadowed = [one for receipt in latest for one in await hub.replay.shadow(receipt, "smollm2-135m")]

    assert await picture(redis) == before
    assert len(shadowed) >= len(latest) > 0
    assert all(one.then and not one.error for one in shadowed)
    assert [one.turn for one in shadowed] == sorted(
        (one.turn for one in shadowed), key=lambda turn: int(turn.partition("-")[0])
    )
    assert await hub.book.latest(1) == latest[-1:]


async def picture(redis: Redis) -> dict[bytes, bytes]:
    """Return everything that Redis holds, by key."""
    client: Any = redis
    return {key: await client.dump(key) async for key in client.scan_iter()}


async def test_receipts_go_with_the_conversation(hub: Hub, redis: Redis) -> None:
    """`/forget` takes them away with what was said, and there are never more than are to be kept."""
    await _asked(hub)
    lease = await hub.bench.entered("/forget")
    await hub.bench.queue.commit(lease, "me", await hub.worker.handle(lease))

    assert await redis.exists(Keys().receipts("c")) == 0


async def test_a_receipt_in_a_group_says_whose_it_is(hub: Hub) -> None:
    """So that one member's can be erased."""
    address = Address(connector="test", account="a", chat="g", person="p", is_group=True)

    receipt = await hub.ask("How much is an espresso?", address=address)

    assert receipt.who


def test_a_prompt_is_digested_by_its_tokens(llama: LlamaChatModel) -> None:
    """Where the vocabulary is at hand; one changed word is told by its message."""
    prompt = Prompt(
        messages=(ChatMessage(role="system", text="Be kind."), ChatMessage(role="user", text="Hi"))
    )
    other = replace(prompt, messages=(prompt.messages[0], ChatMessage(role="user", text="Ho")))

    one, two = digest_of(llama, prompt), digest_of(llama, other)

    assert one == digest_of(llama, prompt)
    assert (one.of, one.tokens) == ("tokens", llama.count_tokens(prompt.messages))
    assert one.sha256 != two.sha256
    assert [a == b for a, b in zip(one.messages, two.messages, strict=True)] == [True, False]
