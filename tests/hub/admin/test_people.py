"""Who is known, in a Redis of several shards and more people than one page of keys."""

from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from hub.admin.people import PeopleBook
from hub.bus.keys import Keys, shard_of
from hub.erasure.keyspace import PAGE
from hub.erasure.person import Principal
from hub.messages import Address
from hub.people import People, principal_of

SHARDS = 3


def address(number: int, connector: str = "telegram") -> Address:
    """Return where somebody writes."""
    return Address(connector=connector, account="12", chat=f"c{number}", person=str(number), is_verified=True)


async def write(redis: Redis, who: Address, conversation: str) -> None:
    """Note that somebody writes in a conversation, as a commit does."""
    client: Any = redis
    keys = Keys(shard_of(conversation, SHARDS))
    fields = {
        "as": who.model_dump_json(include={"connector", "account", "person", "is_verified"}),
        f"in:{conversation}": "private",
    }
    await client.hset(keys.known(principal_of(who)), mapping=fields)


async def test_everybody_is_listed_once(redis: Redis) -> None:
    """By pages of any size, those who are linked together, wherever their conversations lie."""
    people, count = People(redis), PAGE + 60
    for number in range(count):
        await write(redis, address(number), f"telegram-12-{number}")
        await write(redis, address(number), f"telegram-12-{number}-second")
    for number in range(0, 40, 2):
        code = await people.offer(address(number), f"1-{number}")
        assert await people.redeem(code, address(number + 1), f"2-{number}") == "joined"
    book = PeopleBook(redis, shards=SHARDS)

    found, after = [], ""
    while page := await book.page(after, 100):
        found += page
        after = page[-1].id

    assert [one.id for one in found] == sorted({one.id for one in found})
    assert len(found) == count - 20
    numbers = [int(each.principal.person) for one in found for each in one.identities]
    assert sorted(numbers) == list(range(count))
    assert {len(one.identities) for one in found} == {1, 2}
    assert all(len(each.places) == 2 for one in found for each in one.identities)


async def test_any_of_their_identities_finds_a_person(redis: Redis) -> None:
    """With when they were last seen; a person of whom nothing is kept any more is not known."""
    people, book = People(redis), PeopleBook(redis, shards=SHARDS)
    first, second = address(1), address(2, "email")
    for who in (first, second):
        await write(redis, who, f"{who.connector}-12-{who.person}")
    code = await people.offer(first, "1-0")
    await people.redeem(code, second, "1-1")
    await people.note(first, "telegram-12-1")

    by_first, by_second = await book.find(principal_of(first)), await book.find(principal_of(second))

    assert by_first is not None
    assert by_first == by_second
    assert by_first.last_seen is not None
    assert abs((datetime.now(UTC) - by_first.last_seen).total_seconds()) < 60
    assert {one.name for one in by_first.identities} == {"telegram/12/1", "email/12/2"}
    assert by_first.conversations("private") == ["email-12-2", "telegram-12-1"]
    nobody = Principal(connector="web", account="a", person="b").mark
    assert await book.find(nobody) is None


@pytest.mark.parametrize("mark", ["", "*", "a:b", "{0}", "x" * 65, "é", "a\n"])
async def test_what_cannot_be_a_mark_is_never_looked_up(redis: Redis, mark: str) -> None:
    """No key is made of it."""
    assert await PeopleBook(redis, shards=SHARDS).find(mark) is None


async def test_a_record_that_cannot_be_read_hides_itself_alone(redis: Redis) -> None:
    """The others are listed."""
    client: Any = redis
    await write(redis, address(1), "telegram-12-1")
    await client.hset(Keys(0).known("telegram-0"), mapping={"as": "no json", "in:x": "private"})

    found = await PeopleBook(redis, shards=SHARDS).page("", 10)

    assert [each.name for one in found for each in one.identities] == ["telegram/12/1"]
