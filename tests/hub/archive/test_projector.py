"""The projection of the events streams: what comes into the archive, what leaves it, and that repeating is safe."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from hub.archive.archive import Archive, Reader
from hub.archive.projector import Projector
from hub.archive.tables import ArchivedFactRow, ArchivedFeedbackRow, ArchivedTurnRow
from hub.bus.connection import connect_reader
from hub.bus.history import History
from hub.bus.keys import Keys
from hub.erasure.rewriting import RedisStreams
from hub.events import DeliveryEvent, Event, FeedbackEvent, TurnEvent
from hub.messages import Address, FactChange, Turn
from tests.servers.redis import RedisServer

ANA = Address(connector="web", account="site", chat="c", person="ana", is_verified=True)
AT = datetime(2026, 5, 1, 12, tzinfo=UTC)


async def put(redis: Redis, event: Event) -> None:
    """Add an event to the stream."""
    client: Any = redis
    await client.xadd(Keys().events, event.fields())


async def say(redis: Redis, number: int, question: str, conversation: str = "c", **more: Any) -> None:
    """Commit one turn: its row of the history and its event."""
    client: Any = redis
    address = more.pop("address", ANA)
    turn = Turn(
        turn=f"{number}-0",
        address=address,
        question=question,
        answer=f"answer to {question}",
        facts=more.pop("facts", ()),
        asked_at=AT + timedelta(minutes=number),
        answered_at=AT + timedelta(minutes=number, seconds=1),
    )
    await client.rpush(Keys().history(conversation), turn.model_dump_json())
    place = Keys().facts(conversation, address.person if address.is_group else "")
    for fact in turn.facts:
        await (client.hset(place, fact.key, fact.text) if fact.text else client.hdel(place, fact.key))
    await put(redis, happened(number, conversation, address=address, **more))


def happened(number: int, conversation: str = "c", *, address: Address = ANA, **more: Any) -> TurnEvent:
    """Make the event of a turn."""
    fields: dict[str, Any] = {"route": "documents", "queue_ms": 1, "turn_ms": 1, **more}
    return TurnEvent(
        turn=f"{number}-0",
        conversation=conversation,
        connector=address.connector,
        account=address.account,
        person=address.person,
        is_group=address.is_group,
        **fields,
    )


async def rows(database: AsyncEngine, table: Any = ArchivedTurnRow) -> list[Any]:
    """Return a table's rows, oldest first."""
    async with AsyncSession(database) as session:
        found = await session.scalars(select(table))
        return sorted(found, key=lambda row: int(row.turn.split("-")[0]))


async def test_a_turn_is_archived_with_what_was_said(
    redis: Redis, projector: Projector, database: AsyncEngine
) -> None:
    """Question, answer, who, where and when; then how its delivery ended, and what people think of it."""
    await say(redis, 1, "What is a lane?", model="small")
    await put(
        redis,
        DeliveryEvent(turn="1-0", connector="web", state="placed", wait_ms=3, conversation="c", unclear=1),
    )
    judged = FeedbackEvent(turn="1-0", connector="web", conversation="c", person="ana", value="down")
    await put(redis, judged)
    await put(redis, judged.model_copy(update={"value": "up"}))

    await projector.catch_up()

    [turn] = await rows(database)
    assert (turn.question, turn.answer) == ("What is a lane?", "answer to What is a lane?")
    assert (turn.connector, turn.person, turn.route, turn.model) == ("web", "ana", "documents", "small")
    assert turn.asked_at == AT + timedelta(minutes=1)
    assert (turn.delivery, turn.unclear_sends) == ("placed", 1)
    assert turn.delivered_at is not None
    assert [(row.person, row.value) for row in await rows(database, ArchivedFeedbackRow)] == [("ana", "up")]


async def test_what_was_forgotten_is_not_archived_and_leaves_the_archive(
    redis: Redis, projector: Projector, database: AsyncEngine
) -> None:
    """`/new`: with its judgements and facts; other conversations stay."""
    name = FactChange(key="name", text="The user's name is Ana.", quote="My name is Ana")
    await say(redis, 1, "My name is Ana", facts=(name,))
    await say(redis, 2, "Hello", "other")
    await put(redis, FeedbackEvent(turn="1-0", connector="web", conversation="c", person="ana", value="up"))
    await projector.catch_up()
    await say(redis, 3, "not yet archived")
    await redis.delete(Keys().history("c"))
    await put(redis, happened(4, forgets="conversation"))

    await projector.catch_up()

    assert [row.question for row in await rows(database)] == ["Hello"]
    assert await rows(database, ArchivedFeedbackRow) == []
    assert await rows(database, ArchivedFactRow) == []


async def test_forgetting_as_a_person_reaches_the_facts_of_all_their_conversations(
    redis: Redis, projector: Projector, database: AsyncEngine
) -> None:
    """`/forget`: but not what others told, nor what they told in a group."""
    group = ANA.model_copy(update={"is_group": True, "chat": "g"})
    ben = ANA.model_copy(update={"person": "ben"})
    for number, (conversation, address) in enumerate([("c", ANA), ("d", ANA), ("g", group), ("b", ben)], 1):
        fact = FactChange(key="name", text=f"The user's name is N{number}.", quote="q")
        await say(redis, number, "hello", conversation, address=address, facts=(fact,))
    await projector.catch_up()
    identity = (await rows(database))[0].identity
    await redis.delete(Keys().history("c"))
    await put(redis, happened(9, identity=identity, forgets="person"))

    await projector.catch_up()

    kept = {(row.conversation, row.text) for row in await rows(database, ArchivedFactRow)}
    assert kept == {("g", "The user's name is N3."), ("b", "The user's name is N4.")}
    assert [row.conversation for row in await rows(database)] == ["d", "g", "b"]


async def test_an_edited_turn_takes_the_place_of_the_earlier_one(
    redis: Redis, projector: Projector, database: AsyncEngine
) -> None:
    """With what was learned from it."""
    name = FactChange(key="name", text="The user's name is Ana.", quote="My name is Ana")
    await say(redis, 1, "My name is Ana", facts=(name,))
    await say(redis, 2, "Never mind", replaces="1-0")

    await projector.catch_up()

    assert [row.question for row in await rows(database)] == ["Never mind"]
    assert await rows(database, ArchivedFactRow) == []


async def test_what_is_kept_for_a_while_only_and_what_was_cancelled_is_not_archived(
    redis: Redis, projector: Projector, database: AsyncEngine
) -> None:
    """Neither text nor trace; a turn that ended in an error is there without its text, which nothing holds."""
    await say(redis, 1, "passing", "alone", is_passing=True)
    await redis.expire(Keys().history("alone"), 600)
    await put(redis, happened(2, kind_of_answer="cancelled"))
    await put(redis, happened(3, kind_of_answer="error", asked_at_ms=1_700_000_000_000))

    await projector.catch_up()

    [error] = await rows(database)
    assert (error.turn, error.kind, error.question, error.person) == ("3-0", "error", "", "ana")
    assert error.asked_at.year == 2023


async def test_events_of_earlier_versions_and_damaged_ones_are_passed_over(
    redis: Redis, projector: Projector, database: AsyncEngine
) -> None:
    """The ones after them are read."""
    client: Any = redis
    await put(redis, TurnEvent(turn="1-0", connector="web", route="x", queue_ms=1, turn_ms=1))
    await client.xadd(Keys().events, {"kind": "turn", "connector": b"\xff"})
    await client.xadd(Keys().events, {"kind": "sunrise"})
    await say(redis, 2, "hello")

    await projector.catch_up()

    assert [row.turn for row in await rows(database)] == ["2-0"]


async def test_facts_of_one_kind_follow_each_other(
    redis: Redis, projector: Projector, database: AsyncEngine
) -> None:
    """The last one holds, with what it replaced; a forgotten one is gone with all of them."""
    for number, name in enumerate(["Ana", "Anna", "Hanna"], 1):
        fact = FactChange(key="name", text=f"The user's name is {name}.", quote=f"My name is {name}")
        await say(redis, number, f"My name is {name}", facts=(fact,))
    await say(redis, 4, "I live in Goa", facts=(FactChange(key="home", text="The user lives in Goa."),))
    await say(redis, 5, "/memory forget 2", facts=(FactChange(key="home"),))

    await projector.catch_up()

    facts = (await Archive(database).recall("c", "", last=9)).facts
    assert set(facts) == {"name"}
    assert facts["name"].text == "The user's name is Hanna."
    assert facts["name"].quote == "My name is Hanna"
    assert [one.text for one in facts["name"].earlier] == [
        "The user's name is Ana.",
        "The user's name is Anna.",
    ]


async def test_reading_again_changes_nothing(
    redis: Redis, projector: Projector, database: AsyncEngine
) -> None:
    """A rebuild reads every event once more, and what forgetting has removed does not come back."""
    for number in range(1, 6):
        fact = FactChange(key="name", text=f"The user's name is N{number}.", quote=f"N{number}")
        await say(redis, number, f"question {number}", facts=(fact,))
    await projector.catch_up()
    await redis.delete(Keys().history("c"))
    await put(redis, happened(6, forgets="conversation"))
    await say(redis, 7, "after")
    await say(redis, 8, "elsewhere", "d")
    await projector.catch_up()
    before = [(row.conversation, row.turn, row.question, row.route) for row in await rows(database)]

    assert await projector.rebuild() == 2
    await projector.catch_up()

    after = [(row.conversation, row.turn, row.question, row.route) for row in await rows(database)]
    assert after == before == [("c", "7-0", "after", "documents"), ("d", "8-0", "elsewhere", "documents")]
    assert await rows(database, ArchivedFactRow) == []


async def test_an_archive_begins_with_the_histories_there_are(
    redis: Redis, projector: Projector, database: AsyncEngine
) -> None:
    """Also with turns whose events are gone; and a new database is filled again."""
    await say(redis, 1, "long ago")
    await redis.delete(Keys().events)
    await say(redis, 2, "yesterday")

    await projector.catch_up()

    assert [row.question for row in await rows(database)] == ["long ago", "yesterday"]


async def test_a_redis_that_was_emptied_is_read_from_its_new_beginning(
    redis: Redis, projector: Projector, database: AsyncEngine
) -> None:
    """Whatever its clock says, nothing new is overlooked, and what was archived stays."""
    client: Any = redis
    await say(redis, 1, "before")
    await projector.catch_up()
    await redis.flushall()
    await say(redis, 2, "after")
    event = await client.xrange(Keys().events)
    await redis.delete(Keys().events)
    await client.xadd(Keys().events, event[0][1], id="5-0")

    await projector.catch_up()

    assert [row.question for row in await rows(database)] == ["before", "after"]


async def test_two_projectors_write_everything_once(
    redis: Redis, redis_server: RedisServer, projector: Projector, database: AsyncEngine
) -> None:
    """The one that comes second goes on behind the other."""
    other = Projector(redis, connect_reader(redis_server.url), History(redis), database)
    stop = asyncio.Event()
    running = [asyncio.create_task(one.run(stop)) for one in (projector, other)]
    for number in range(1, 61):
        await say(redis, number, f"question {number}", f"c{number % 7}")

    async with asyncio.timeout(30):
        while len(await rows(database)) < 60:
            await asyncio.sleep(0.05)
    stop.set()
    await asyncio.gather(*running)

    assert [row.question for row in await rows(database)] == [f"question {n}" for n in range(1, 61)]


async def test_old_turns_leave_the_archive_where_that_is_set(
    redis: Redis, projector: Projector, database: AsyncEngine
) -> None:
    """With their judgements, and their words in the index."""
    await say(redis, 1, "early")
    await say(redis, 500, "late")
    await put(redis, FeedbackEvent(turn="1-0", connector="web", conversation="c", person="ana", value="up"))
    await projector.catch_up()

    assert await Archive(database).expire(AT + timedelta(minutes=100)) == 1

    assert [row.question for row in await rows(database)] == ["late"]
    assert await rows(database, ArchivedFeedbackRow) == []
    assert await Archive(database).search(Reader(conversations=["c"]), "early") == []
    assert len(await Archive(database).search(Reader(conversations=["c"]), "late")) == 1


@pytest.mark.parametrize("entry", ["1-0", "1700000000000-12", "1-99999999"])
def test_the_order_of_entries_is_that_of_their_places(entry: str) -> None:
    """As text, on every database."""
    from hub.archive.tables import place_of  # noqa: PLC0415

    assert place_of("0-5") < place_of(entry) < place_of("1700000000000-13")
    assert place_of("nonsense") == ""


async def test_a_reader_that_is_woken_without_an_entry_reads_on(
    redis: Redis, projector: Projector, database: AsyncEngine
) -> None:
    """The events are written anew while it waits, and the last ones were erased."""
    client: Any = redis
    await say(redis, 1, "kept")
    await projector.catch_up()
    await client.xdel(Keys().events, await client.xadd(Keys().events, {"kind": "turn"}))
    stop = asyncio.Event()
    task = asyncio.create_task(projector.run(stop))
    async with asyncio.timeout(20):
        while not int((await client.info("clients"))["blocked_clients"]):
            await asyncio.sleep(0.01)
        await RedisStreams(redis, shards=1).compact()
        await say(redis, 2, "next")
        while len(await rows(database)) < 2:
            await asyncio.sleep(0.01)
    stop.set()
    await task


async def test_a_fact_that_was_forgotten_on_another_channel_does_not_come_back(
    redis: Redis, projector: Projector, database: AsyncEngine
) -> None:
    """The turn that told it stays in its conversation; read again, it tells the fact no more."""
    client: Any = redis
    name = FactChange(key="name", text="My name is Ana.", quote="I am Ana")
    await say(redis, 1, "I am Ana", facts=(name, FactChange(key="city", text="I live in Goa.", quote="Goa")))
    await projector.catch_up()
    assert [row.key for row in await rows(database, ArchivedFactRow)] == ["name", "city"]
    # As `/memory forget` in a linked conversation does it.
    await client.hdel(Keys().facts("c"), "name")
    await Archive(database).forget_facts(["c"], ["name"])

    await projector.rebuild()
    await projector.catch_up()

    assert [row.key for row in await rows(database, ArchivedFactRow)] == ["city"]
