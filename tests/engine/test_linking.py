"""`/link` and `/unlink`: what a person told on one channel is known on the other, and on no one else's."""

import re
from typing import Any

from redis.asyncio import Redis

from engine import replies
from engine.linking import Linking
from engine.turn import Answer, Recollection, TextSink
from engine.worker import Worker
from hub.bus.queue import Lease
from hub.messages import Address, InboundMessage
from hub.people import People
from tests.engine.bench import Bench, Scripted, said


def _address(connector: str, person: str, **more: bool) -> Address:
    return Address(
        connector=connector, account="a", chat=person, person=person, **{"is_verified": True, **more}
    )


MARIA, MARIAS_MAIL, OMDEEP = _address("test", "1"), _address("test", "m@x.org"), _address("test", "2")


async def _remember(message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
    if message.text.startswith("My name is "):
        name = message.text.removeprefix("My name is ")
        return said("noted", facts={"name": f"The user's name is {name}."})
    return said(" ".join(recollection.facts.values()) or "nothing")


class _Talk:
    """Several people at one bench."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._linking = Linking(Scripted(_remember), People(bench.bus.redis))
        self._count = 0

    async def say(self, address: Address, text: str, conversation: str = "") -> str:
        """Say something, and return what is answered."""
        self._count += 1
        conversation = conversation or f"c-{address.person}"
        fields: dict[str, Any] = {"address": address, "conversation": conversation}
        entry = await self._bench.published(text, external_key=f"k{self._count}", **fields)
        lease = await self._bench.queue.enter(entry, conversation, "me")
        assert isinstance(lease, Lease)
        worker: Worker = self._bench.worker()
        worker._assistant = self._linking
        await self._bench.queue.commit(lease, "me", await worker.handle(lease))
        return (await self._bench.replies())[-1].text


def _code_in(text: str) -> str:
    found = re.search(r"`([0-9A-Z]{5}-[0-9A-Z]{5})`", text)
    assert found
    return found[1]


async def test_what_was_told_on_one_channel_is_known_on_the_other_once_linked(bench: Bench) -> None:
    """And not before."""
    talk = _Talk(bench)
    await talk.say(MARIA, "My name is Maria")
    assert await talk.say(MARIAS_MAIL, "Who am I?") == "nothing"

    code = _code_in(await talk.say(MARIA, "/link"))
    assert await talk.say(MARIAS_MAIL, f"/link {code}") == replies.LINKED

    assert await talk.say(MARIAS_MAIL, "Who am I?") == "The user's name is Maria."
    assert await talk.say(OMDEEP, "Who am I?") == "nothing"


async def test_unlinking_splits_what_was_joined(bench: Bench) -> None:
    """Each side keeps what was told there."""
    talk = _Talk(bench)
    await talk.say(MARIA, "My name is Maria")
    await talk.say(MARIAS_MAIL, f"/link {_code_in(await talk.say(MARIA, '/link'))}")

    assert await talk.say(MARIAS_MAIL, "/unlink") == replies.UNLINKED

    assert await talk.say(MARIAS_MAIL, "Who am I?") == "nothing"
    assert await talk.say(MARIA, "Who am I?") == "The user's name is Maria."
    assert await talk.say(MARIA, "/unlink") == replies.NOT_LINKED


async def test_a_group_learns_nothing_of_what_was_told_in_private(bench: Bench) -> None:
    """And hands out no codes."""
    talk = _Talk(bench)
    in_group = MARIA.model_copy(update={"is_group": True, "chat": "g"})
    await talk.say(MARIA, "My name is Maria")

    assert await talk.say(in_group, "Who am I?", "c-group") == "nothing"
    assert await talk.say(in_group, "/link", "c-group") == replies.LINK_IN_PRIVATE


async def test_a_group_keeps_apart_what_each_of_its_people_tells(bench: Bench) -> None:
    """One's name is not another's."""
    talk = _Talk(bench)
    maria, omdeep = (one.model_copy(update={"is_group": True}) for one in (MARIA, OMDEEP))
    await talk.say(maria, "My name is Maria", "c-group")

    assert await talk.say(omdeep, "Who am I?", "c-group") == "nothing"
    assert await talk.say(maria, "Who am I?", "c-group") == "The user's name is Maria."
    assert await talk.say(MARIA, "Who am I?") == "nothing"


async def test_a_person_nobody_vouches_for_cannot_be_linked(bench: Bench) -> None:
    """A From header is anybody's to write."""
    talk = _Talk(bench)
    unknown = _address("test", "x", is_verified=False)
    code = _code_in(await talk.say(MARIA, "/link"))

    assert await talk.say(unknown, f"/link {code}") == replies.LINK_UNVERIFIED
    assert await talk.say(unknown, "/link") == replies.LINK_UNVERIFIED


async def test_wrong_codes_are_told_so(bench: Bench) -> None:
    """Mistyped ones, and one's own."""
    talk = _Talk(bench)
    code = _code_in(await talk.say(MARIA, "/link"))

    assert await talk.say(MARIA, f"/link {code}") == replies.CODE_OF_THIS_CHANNEL
    assert await talk.say(MARIAS_MAIL, "/link ABCDE-FGHJK") == replies.CODE_UNKNOWN


async def test_the_threads_of_one_verified_sender_are_one_persons(bench: Bench, redis: Redis) -> None:
    """Without any code: the mail server vouches for the address."""
    talk = _Talk(bench)
    await talk.say(MARIAS_MAIL, "My name is Maria", "c-thread-1")

    assert await talk.say(MARIAS_MAIL, "Who am I?", "c-thread-2") == "The user's name is Maria."
