"""Of what several people share a person's own goes, and of the others not a byte changes."""

from dataclasses import replace

import pytest

from engine.asked import Asked, Inputs, PromptDigest
from engine.memory.summary import Summary
from engine.receipts import AnswerReceipt
from hub.archive.projector import Projector
from hub.bus.cache import AnswerCache
from hub.bus.keys import Keys
from hub.bus.state import State
from hub.erasure.person import Principal
from hub.errors import LeaseLost
from hub.live import DeltaWriter
from hub.messages import OutboundMessage
from hub.people import principal_of
from tests.hub.erasure import database
from tests.hub.erasure.world import ANA, BEN, BOT, GROUP, MAILBOX, World

ANA_HERE = Principal(connector="telegram", account=BOT, person=ANA.number)
ANAS_MAIL = Principal(connector="email", account=MAILBOX, person=ANA.mail)


async def test_in_a_group_only_ones_own_words_go(world: World) -> None:
    """Turns, facts and the lines of the summary; another's running turn begins anew with what is left."""
    group = f"telegram-{BOT}-{GROUP}"
    for text in ("one", "two", "three"):
        for who in (ANA, BEN):
            await world.answer(who.telegram(group=True), group, f"What is {text} of {who.word}?")
    await world.ask(BEN.telegram(group=True), group, f"Running {BEN.word}")
    lease = await world.enter("inbound", group)
    stale = await world.worker().handle(lease)

    await world.eraser().erase(ANA_HERE)

    assert await world.files_hold(words=[ANA.word]) == []
    turns = await world.bus.history.turns(group)
    assert [BEN.word in turn.question for turn in turns] == [True] * 3
    summary = await world.bus.history.summary(group)
    assert BEN.word in summary["text"]
    with pytest.raises(LeaseLost):
        await world.bus.queue("inbound", 0).commit(lease, "me", stale)
    fresh = await world.enter("inbound", group)
    assert (fresh.head, fresh.attempts) == (lease.head, lease.attempts)
    await world.commit("inbound", fresh, await world.worker().handle(fresh))
    assert await world.files_hold(words=[ANA.word]) == []


async def test_old_lines_of_a_groups_summary_go_and_those_of_others_stay(
    world: World, projector: Projector
) -> None:
    """The turns they were made of have left Redis; the archive tells whose they were, and one of nobody's goes."""
    group = f"telegram-{BOT}-{GROUP}"
    for text in ("one", "two", "three"):
        for who in (ANA, BEN):
            await world.answer(who.telegram(group=True), group, f"What is {text} of {who.word}?")
    await projector.catch_up()
    await world.client.ltrim(Keys().history(group), -1, -1)
    summary = Summary.from_fields(await world.bus.history.summary(group))
    mine, theirs = ([line for line in summary.entries if who.word in line] for who in (ANA, BEN))
    assert len(mine) == 3, "nothing would have to go"
    unknown = f"What did {ANA.word} say in {BEN.word}'s words?"
    fields = replace(summary, entries=(unknown, *summary.entries), first=unknown).fields()
    await world.client.hset(Keys().summary(group), mapping=fields)

    await world.eraser().erase(ANA_HERE)

    left = Summary.from_fields(await world.bus.history.summary(group))
    assert list(left.entries) == theirs
    assert left.first == ""
    assert await world.files_hold(words=[ANA.word]) == []


async def test_what_a_model_was_shown_of_somebody_goes_from_the_receipts_of_others(world: World) -> None:
    """In a group it was given the summary, which holds words of everybody; the answer itself stays."""
    group = f"telegram-{BOT}-{GROUP}"
    for text in ("one", "two"):
        for who in (ANA, BEN):
            await world.answer(who.telegram(group=True), group, f"What is {text} of {who.word}?")
    summary = Summary.from_fields(await world.bus.history.summary(group))
    key = Keys().receipts(group)
    for turn, lines in (("7-0", summary.entries), ("8-0", ("What is one?",))):
        prompt = PromptDigest(of="text", tokens=1, sha256="0")
        inputs = Inputs(question=BEN.word, summary=lines)
        asked = Asked(
            model="m", prompt=prompt, inputs=inputs, options={}, answer=f"Well, {BEN.word}", is_whole=True
        )
        receipt = AnswerReceipt(turn=turn, conversation=group, who="ben", route="model", asked=(asked,))
        await world.client.rpush(key, receipt.model_dump_json())
    kept = (await world.client.lrange(key, 1, 1))[0]

    await world.eraser().erase(ANA_HERE)

    shortened, other = await world.client.lrange(key, 0, -1)
    assert other == kept
    [asked] = AnswerReceipt.model_validate_json(shortened).asked
    assert (asked.inputs, asked.answer) == (None, f"Well, {BEN.word}")
    assert await world.files_hold(words=[ANA.word]) == []


async def test_open_questions_of_others_in_a_group_stay(world: World) -> None:
    """Of those that nobody signed, which earlier versions have left, none is another's for sure."""
    group = f"telegram-{BOT}-{GROUP}"
    await world.answer(ANA.telegram(group=True), group, "What is one?")
    ana, ben = (principal_of(who.telegram(group=True)) for who in (ANA, BEN))
    await database.ask_in_group(world.settings, group, [ana, ben, ""])

    await world.eraser().erase(ANA_HERE)

    [left] = await database.rows_naming(world.settings, ["Who is "])
    assert ben in left


async def test_whoever_works_on_an_erased_turn_can_show_and_cache_nothing_of_it(world: World) -> None:
    """In a group nobody stops them at once: they notice when they renew their lease, and messages come again by then."""
    group = f"telegram-{BOT}-{GROUP}"
    asked = world.message(ANA.telegram(group=True), group, f"Running {ANA.word}")
    entry = (await world.bus.publish(asked)).entry
    await world.enter("inbound", group)
    writer = DeltaWriter(world.redis, shards=1, turn=entry, conversation=group)
    reply = OutboundMessage(
        reply_id=f"{entry}:0",
        turn=entry,
        conversation=group,
        address=asked.address,
        text=ANA.word,
    )

    await world.eraser().erase(ANA_HERE)
    await writer.add(f"half a word of {ANA.word}")
    await writer.close()
    await world.live.announce(reply)
    cache = AnswerCache(world.redis, ttl_s=600)
    await cache.keep("d", ANA.word.encode(), owner=principal_of(asked.address), message=asked.external_key)

    assert await world.files_hold(words=[ANA.word]) == []
    assert await world.bus.was_erased(asked)


async def test_votes_and_judgements_of_others_stay(world: World) -> None:
    """What several people pressed below one answer is kept without the one who is gone."""
    store = State(world.redis, "telegram")
    await store.set(f"votes:{BOT}:1-1", f'{{"{ANA.number}": "up", "{BEN.number}": "down"}}', 600)

    await world.eraser().erase(ANA_HERE)

    assert await store.get(f"votes:{BOT}:1-1") == f'{{"{BEN.number}": "down"}}'
    assert await world.client.ttl(Keys().state("telegram", f"votes:{BOT}:1-1")) > 500


async def test_another_with_the_same_digits_keeps_what_nobody_could_read(world: World) -> None:
    """Names of people and conversations count where they stand by themselves."""
    longer = f"{ANA.number}7"
    letters = world.bus.dead_letters
    for reason in (
        f"telegram-{BOT}-{longer}",
        f"mail of x{ANA.mail}",
        f"<{ANA.mail}>",
        f"chat {ANA.number}:",
    ):
        await letters.quarantine("telegram", reason, b"body")

    await world.eraser().erase(ANA_HERE, ANAS_MAIL)

    left = await world.client.xrange(Keys().quarantine)
    assert [fields[b"reason"].decode() for _, fields in left] == [
        f"telegram-{BOT}-{longer}",
        f"mail of x{ANA.mail}",
    ]
