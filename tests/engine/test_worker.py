"""The worker: what one message leaves behind, on a real Redis with a scripted assistant."""

import asyncio
from typing import Any

import pytest

from engine.memory.summary import Summary
from engine.turn import Answer, Recollection, TextSink
from engine.worker import GIVEN_UP, TurnTimeout
from hub import live
from hub.bus.keys import Keys
from hub.bus.queue import Lease
from hub.errors import ContextWindowExceeded, ModelError
from hub.messages import InboundMessage
from tests.engine.bench import ADDRESS, Bench, said


async def test_a_commit_holds_reply_turn_and_event(bench: Bench) -> None:
    """One step, one answer, whose id is the same for every attempt."""
    await bench.answered("hello")

    [reply] = await bench.replies()
    assert (reply.text, reply.question, reply.conversation, reply.address) == ("hello", "hello", "c", ADDRESS)
    assert reply.reply_id == f"{reply.turn}:0"
    [turn] = await bench.bus.history.turns("c")
    assert (turn.turn, turn.question, turn.answer) == (reply.turn, "hello", "hello")
    [event] = await bench.events()
    assert (event.turn, event.connector, event.kind_of_answer) == (reply.turn, "test", "answer")


async def test_earlier_turns_and_facts_are_recalled(bench: Bench) -> None:
    """As many turns as the settings say, oldest first."""
    seen: list[Recollection] = []

    async def learn(message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        seen.append(recollection)
        return said(message.text, facts={"name": "My name is Maria."})

    for text in ("1", "2", "3"):
        await bench.answered(text, learn)

    assert [[turn.question for turn in recollection.turns] for recollection in seen] == [
        [],
        ["1"],
        ["1", "2"],
    ]
    assert [dict(recollection.facts) for recollection in seen] == [{}, *[{"name": "My name is Maria."}] * 2]


async def test_what_belongs_to_no_conversation_is_kept_for_a_while_only(bench: Bench) -> None:
    """Turn, facts and summary of a message with `kept_s` go by themselves; those of others stay."""

    async def learn(message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        return said(message.text, facts={"name": "My name is Maria."})

    lasting: list[list[int]] = []
    for kept_s in (0, 600):
        client: Any = bench.bus.redis
        await client.flushall()
        for text in ("1", "2", "3"):
            lease = await bench.entered(text, kept_s=kept_s)
            await bench.queue.commit(lease, "me", await bench.worker(learn).handle(lease))
        places = (Keys().history("c"), Keys().facts("c"), Keys().summary("c"))
        lasting.append([await client.ttl(place) for place in places])

    assert lasting[0] == [-1, -1, -1]
    assert all(0 < left <= 600 for left in lasting[1])


async def test_the_history_is_bounded(bench: Bench) -> None:
    """Old turns make room for new ones."""
    for number in range(5):
        await bench.answered(str(number))

    assert [turn.question for turn in await bench.bus.history.turns("c")] == ["2", "3", "4"]


async def test_forgetting_leaves_neither_turns_nor_facts_nor_summary(bench: Bench) -> None:
    """Not even the turn that asked for it."""

    async def learn(message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        return said("noted", facts={"name": "My name is Maria."})

    async def forget(message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        return said("forgotten", forget="conversation")

    for text in ("I am Maria", "I am Maria, I said", "Hear?"):
        await bench.answered(text, learn)
    assert await bench.bus.history.summary("c") != {}
    await bench.answered("/forget", forget)

    assert await bench.bus.history.turns("c") == []
    assert await bench.bus.history.facts("c") == {}
    assert await bench.bus.history.summary("c") == {}
    assert [reply.text for reply in await bench.replies()] == [*["noted"] * 3, "forgotten"]


async def test_what_leaves_the_window_is_summarised(bench: Bench) -> None:
    """After twenty turns the summary and the window hold all that was asked, each once."""
    for number in range(20):
        await bench.answered(f"What is number {number}?")

    summary = Summary.from_fields(await bench.bus.history.summary("c"))

    assert summary.entries == tuple(f"What is number {number}?" for number in range(18))
    assert (summary.count, summary.first) == (18, "What is number 0?")
    window = await bench.bus.history.turns("c", last=2)
    assert [turn.question for turn in window] == ["What is number 18?", "What is number 19?"]
    assert not any(summary.holds(turn) for turn in window)


async def test_the_summary_is_recalled_with_the_window(bench: Bench) -> None:
    """So that the assistant knows what was asked before it."""
    seen: list[Recollection] = []

    async def look(message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        seen.append(recollection)
        return said(message.text)

    for number in range(4):
        await bench.answered(f"What is {number}?", look)

    assert seen[-1].summary.entries == ("What is 0?",)
    assert [turn.question for turn in seen[-1].turns] == ["What is 1?", "What is 2?"]


async def test_a_repeated_attempt_folds_no_turn_twice(bench: Bench) -> None:
    """Whether the first one broke off before its commit or lost its answer."""
    for number in range(3):
        await bench.answered(f"What is {number}?")
    lease = await bench.entered("What is 3?")
    await bench.worker().handle(lease)
    commit = await bench.worker().handle(lease)

    await bench.queue.commit(lease, "me", commit)
    await bench.queue.commit(lease, "me", commit)

    summary = Summary.from_fields(await bench.bus.history.summary("c"))
    assert (summary.entries, summary.count) == (("What is 0?", "What is 1?"), 2)


async def test_a_conversation_without_a_summary_catches_up(bench: Bench) -> None:
    """As after an update, or when the window has become smaller."""
    for number in range(3):
        await bench.answered(f"What is {number}?")
    await bench.bus.redis.delete(Keys().summary("c"))

    await bench.answered("What is 3?")

    summary = Summary.from_fields(await bench.bus.history.summary("c"))
    assert summary.entries == ("What is 0?", "What is 1?")


async def test_a_message_too_long_for_the_model_is_answered_so(bench: Bench) -> None:
    """With both numbers; repeating would not make it shorter."""

    async def overflow(message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        raise ContextWindowExceeded(2048, 5000)

    await bench.answered("long", overflow)

    [reply] = await bench.replies()
    assert (reply.kind, reply.code) == ("error", "context_length_exceeded")
    assert "at least 5000 tokens" in reply.text
    assert "hold 2048" in reply.text


async def test_a_turn_that_takes_too_long_is_a_failure(bench: Bench) -> None:
    """The model is cancelled, and the attempt counts."""
    cancelled = asyncio.Event()

    async def hang(message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    with pytest.raises(TurnTimeout):
        await bench.worker(hang, turn_timeout_s=0.05).handle(await bench.entered("x"))

    assert cancelled.is_set()


async def test_giving_up_tells_the_person_and_keeps_the_message(bench: Bench) -> None:
    """A dead letter is never the only answer."""
    lease = await bench.entered("x")
    commit = await bench.worker().bury(lease)
    await bench.queue.commit(lease, "me", commit)

    [reply] = await bench.replies()
    assert (reply.kind, reply.text) == ("error", GIVEN_UP)
    [letter] = await bench.bus.dead_letters.list()
    assert (letter.entry, letter.lane, letter.reason) == (lease.head, "c", "0 attempts failed")


async def test_what_an_operator_says_goes_out_as_it_stands(bench: Bench) -> None:
    """In its turn, remembered as said, and nothing of it taken for the person's own: no style, no time they were seen."""
    await bench.answered("hello")
    before = await bench.bus.history.style("c")

    await bench.answered("", fail, spoken="An *operator* here.", external_key="operator:1")

    assert [(reply.kind, reply.text) for reply in await bench.replies()] == [
        ("answer", "hello"),
        ("notice", "An *operator* here."),
    ]
    [_, turn] = await bench.bus.history.turns("c")
    assert (turn.question, turn.answer, turn.kind) == ("", "An *operator* here.", "notice")
    assert await bench.bus.history.style("c") == before
    assert [event.route for event in await bench.events()] == ["unknown", "operator"]


async def fail(message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
    """Be asked by nobody."""
    raise AssertionError


async def test_an_unreadable_message_is_a_dead_letter(bench: Bench) -> None:
    """Nobody can be told: it names no address."""
    published = await bench.queue.publish("k", "c", b"{}", remember_s=60)
    lease = await bench.queue.enter(published.entry, "c", "me")
    assert isinstance(lease, Lease)

    for step in (bench.worker().handle, bench.worker().bury):
        assert (await step(lease)).dead_letter.startswith("the entry is no message")


async def test_streamed_text_follows_the_word_that_the_turn_was_taken_up(bench: Bench) -> None:
    """And a second attempt takes back what the first had shown."""

    async def break_off(message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        await text.add("half")
        raise ModelError("the model failed")

    async with bench.live.listen("c") as events:
        lease = await bench.entered("whole", stream=True)
        with pytest.raises(ModelError):
            await bench.worker(break_off).handle(lease)
        await bench.queue.nack(lease, delay_s=0, counts=True)
        again = await bench.queue.enter(lease.head, "c", "me")
        assert isinstance(again, Lease)
        await bench.worker().handle(again)
        async with asyncio.timeout(20):
            heard = [await anext(events) for _ in range(5)]

    assert [(event.kind, event.text) for event in heard] == [
        ("typing", ""),
        ("delta", "half"),
        ("reset", ""),
        ("typing", ""),
        ("delta", "whole"),
    ]


async def test_a_channel_without_live_text_is_told_typing_only_when_it_takes_a_while(bench: Bench) -> None:
    """An answer that is there at once needs no announcement."""

    async def slow(message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        await text.add("never shown")
        async with asyncio.timeout(20):
            return said((await anext(events)).kind)

    async with bench.live.listen("c") as events:
        await bench.worker().handle(await bench.entered("quick"))
        lease = await bench.entered("slow")
        commit = await bench.worker(slow).handle(lease)

    assert b'"text":"typing"' in commit.effects[0].arguments[1]  # type: ignore[operator]


async def test_a_turn_whose_lease_is_lost_shows_nothing_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker has started it again: late text would be mixed into its own."""
    monkeypatch.setattr(live, "BATCH_S", 60)
    began = asyncio.Event()

    async def hang(message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        await text.add("shown")
        async with asyncio.timeout(20):
            while await bench.live.partial(lease.head) != "shown":
                await asyncio.sleep(0.01)
        await text.add(", and stale")
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    lease = await bench.entered("x", stream=True)
    turn = asyncio.create_task(bench.worker(hang).handle(lease))
    await began.wait()
    turn.cancel()
    await asyncio.gather(turn, return_exceptions=True)

    assert turn.cancelled()
    assert await bench.live.partial(lease.head) == "shown"


async def test_the_choice_of_a_conversation_is_kept_until_it_is_forgotten(bench: Bench) -> None:
    """The model that `/model` chose is there in the next turn, and gone after `/forget`."""
    seen: list[dict[str, str]] = []

    async def look(message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        seen.append(dict(recollection.preferences))
        match message.text:
            case "choose":
                return said("chosen", preferences={"model": "big"})
            case "forget":
                return said("forgotten", forget="conversation")
        return said("seen")

    for text in ("choose", "one", "forget", "two"):
        await bench.answered(text, look)

    assert seen == [{}, {"model": "big"}, {"model": "big"}, {}]
