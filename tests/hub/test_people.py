"""Who is who: joined by a code that one person carries from channel to channel, and by nothing else."""

import pytest
from redis.asyncio import Redis

from hub.messages import Address
from hub.people import CODE_CHARS, TRIES_PER_HOUR, People, identity_of, shown_code


def _address(connector: str, person: str, **more: bool) -> Address:
    values = {"is_verified": True, **more}
    return Address(connector=connector, account="a", chat=person, person=person, **values)


TELEGRAM, MAIL, WEB = _address("telegram", "1"), _address("email", "mailto:m@x.org"), _address("web", "v")


@pytest.fixture
async def people(redis: Redis) -> People:
    """Three people, each with a conversation on one channel."""
    people = People(redis)
    for address, conversation in ((TELEGRAM, "tg"), (MAIL, "mail"), (WEB, "web")):
        await people.note(address, conversation)
    return people


async def _join(people: People, one: Address, other: Address) -> str:
    code = await people.offer(one, f"offer {one.connector} {other.connector}")
    return await people.redeem(code, other, f"redeem {one.connector} {other.connector}")


async def test_nobody_is_known_elsewhere_before_a_code_was_redeemed(people: People) -> None:
    """Not by the same name, and not by offering one."""
    await people.offer(TELEGRAM, "t1")

    assert await people.conversations(TELEGRAM, "tg") == []
    assert await people.conversations(MAIL, "mail") == []


async def test_a_redeemed_code_joins_both(people: People) -> None:
    """In both directions; the conversation one is in is not another one."""
    assert await _join(people, TELEGRAM, MAIL) == "joined"

    assert await people.conversations(TELEGRAM, "tg") == ["mail"]
    assert await people.conversations(MAIL, "mail") == ["tg"]
    assert await people.conversations(WEB, "web") == []


async def test_all_identities_of_a_person_are_told(people: People) -> None:
    """Only to somebody a channel vouches for, where nobody reads along."""
    await _join(people, TELEGRAM, MAIL)
    both = {identity_of(TELEGRAM), identity_of(MAIL)}

    assert await people.identities(TELEGRAM) == await people.identities(MAIL) == both
    assert await people.identities(WEB) == {identity_of(WEB)}
    assert await people.identities(TELEGRAM.model_copy(update={"is_verified": False})) == set()
    assert await people.identities(TELEGRAM.model_copy(update={"is_group": True})) == set()


async def test_joining_joins_all_that_were_joined_before(people: People) -> None:
    """A third channel is that person's on all of them, whichever side offers."""
    await _join(people, TELEGRAM, MAIL)
    await _join(people, WEB, MAIL)

    assert set(await people.conversations(TELEGRAM, "tg")) == {"mail", "web"}
    assert set(await people.conversations(WEB, "web")) == {"mail", "tg"}


async def test_parting_restores_what_was(people: People) -> None:
    """The one who leaves is alone, the others stay together; a last one is alone, too."""
    await _join(people, TELEGRAM, MAIL)
    await _join(people, WEB, MAIL)

    assert await people.part(MAIL) == 2
    assert await people.conversations(MAIL, "mail") == []
    assert await people.conversations(TELEGRAM, "tg") == ["web"]
    assert await people.part(WEB) == 1
    assert await people.conversations(TELEGRAM, "tg") == []
    assert await people.part(TELEGRAM) == 0


async def test_a_code_is_good_once(people: People) -> None:
    """For the message that redeemed it also a second time: that is the same one tried again."""
    code = await people.offer(TELEGRAM, "t1")

    assert await people.redeem(code, MAIL, "m1") == "joined"
    assert await people.redeem(code, MAIL, "m1") == "joined"
    assert await people.redeem(code, WEB, "w1") == "unknown"
    assert await people.conversations(WEB, "web") == []


async def test_a_code_is_the_same_for_every_attempt_and_read_as_it_is_typed(people: People) -> None:
    """Small letters, spaces and dashes do not matter."""
    code = await people.offer(TELEGRAM, "t1")

    assert code == await people.offer(TELEGRAM, "t1")
    assert code != await people.offer(TELEGRAM, "t2")
    assert len(code) == CODE_CHARS
    assert await people.redeem(f" {shown_code(code).lower()} ", MAIL, "m1") == "joined"


async def test_one_does_not_join_oneself(people: People) -> None:
    """The code stays good for the other channel."""
    code = await people.offer(TELEGRAM, "t1")

    assert await people.redeem(code, TELEGRAM, "t2") == "self"
    assert await people.redeem(code, MAIL, "m1") == "joined"


async def test_codes_cannot_be_tried_out(people: People) -> None:
    """After some wrong ones even the right one is refused for a while."""
    code = await people.offer(TELEGRAM, "t1")
    for number in range(TRIES_PER_HOUR):
        assert await people.redeem("AAAAAAAAAA", MAIL, f"m{number}") == "unknown"

    assert await people.redeem(code, MAIL, "m") == "too_many"
    assert await people.redeem(code, WEB, "w") == "joined"


@pytest.mark.parametrize(
    "address", [_address("email", "x", is_verified=False), _address("telegram", "1", is_group=True)]
)
async def test_who_is_not_vouched_for_or_not_alone_has_no_other_conversations(
    people: People, address: Address
) -> None:
    """Neither offers nor redeems, and nothing of theirs is noted."""
    code = await people.offer(TELEGRAM, "t1")
    await people.note(address, "elsewhere")

    assert await people.offer(address, "t2") == ""
    assert await people.redeem(code, address, "t3") == "unknown"
    assert await people.conversations(address, "here") == []
    assert await people.conversations(TELEGRAM, "tg") == []


async def test_a_mailbox_has_a_conversation_for_each_thread(people: People) -> None:
    """Those of one verified sender are one person's without any code; the latest used comes last."""
    for thread in ("m2", "m3", "mail"):
        await people.note(MAIL, thread)

    assert await people.conversations(MAIL, "m2") == ["m3", "mail"]


def test_identities_of_different_people_are_different() -> None:
    """Whatever stands in their names."""
    found = {identity_of(_address(c, p)) for c in ("email", "web") for p in ("a", "b", "a\x1fb")}

    assert len(found) == 6
    assert "" not in found
