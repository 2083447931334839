"""A person is removed everywhere, whatever happens meanwhile; of everybody else not a byte changes."""

import asyncio
import os
import random
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from hub.bus.connection import connect
from hub.bus.keys import Keys
from hub.erasure.eraser import ErasureIncomplete, ErasureJob
from hub.erasure.lease import ErasureTaken
from hub.erasure.person import NobodyNamed, Person, Principal, parse_identity
from hub.erasure.receipt import ErasureReceipt, ReceiptForged, read_receipt
from hub.errors import LeaseLost
from hub.interactions import InteractionLog
from hub.live import DeltaWriter
from hub.messages import utc_now
from tests.hub.erasure.world import ANA, BEN, BOT, GROUP, MAILBOX, Announcing, World

SEED = int(os.environ.get("FAULT_SEED") or secrets.randbits(32))
WORDS = [ANA.word, ANA.mail, f"-{ANA.number}", f":{ANA.number}"]
NAMED = (
    Principal(connector="telegram", account=BOT, person=ANA.number),
    Principal(connector="email", account=MAILBOX, person=ANA.mail),
)
"""Their page is linked with Telegram; the mail is not, and is named besides."""


async def test_nothing_of_a_person_is_left_in_any_file_or_key(
    world: World, data: Path, redis_folder: Path
) -> None:
    """Memory, streams, lanes, live text, dead letters, connectors' state, the log, and what Redis wrote of it."""
    await world.live_through(ANA)
    await world.live_through(BEN)
    for who in (ANA, BEN, ANA):
        await world.ask(who.telegram(group=True), f"telegram-{BOT}-{GROUP}", f"Waiting {who.word}")
    before = await world.picture_of(BEN)
    assert await world.files_hold(data, redis_folder, words=[ANA.word]), "there would be nothing to erase"

    receipt = await world.eraser().erase(*NAMED)

    assert await world.files_hold(data, redis_folder, words=WORDS) == []
    assert await world.picture_of(BEN) == before
    assert sum(receipt.left.values()) == 0
    untouched = {"erasure_list", "accepted_messages", "named_requests", "orders"}
    assert {name for name, number in receipt.removed.items() if not number} <= untouched
    assert ANA.word not in receipt.model_dump_json()


async def test_a_delivery_is_found_of_which_nothing_was_noted_on_its_way(world: World) -> None:
    """Its turn stands in no history any more, and its channel notes neither the beginning nor the end of a request."""
    conversation = f"telegram-{BOT}-{ANA.number}"
    await world.ask(ANA.telegram(), conversation, "Hello")
    await world.work(conversation)
    await world.deliver("telegram", conversation, channel=Announcing(world.live))
    await world.client.delete(world.bus.keys(conversation).history(conversation))
    assert [key async for key in world.client.scan_iter("*sent*")]

    await world.eraser().erase(NAMED[0])

    assert not [key async for key in world.client.scan_iter("*sent*")]


async def test_an_erasure_twice_is_the_same_as_once(world: World) -> None:
    """The second finds nothing."""
    await world.live_through(ANA)
    await world.eraser().erase(*NAMED)

    again = await world.eraser().erase(*NAMED)

    assert set(again.removed.values()) == {0}


class Killed(BaseException):
    """The process ends here."""


class Mortal:
    """Ends an eraser before one of its commands, or after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: float = float("inf")
        self.sent = 0
        self.dies_after = False
        """Whether the last command is still carried out."""
        from redis.asyncio.connection import AbstractConnection  # noqa: PLC0415

        original = AbstractConnection.send_packed_command

        async def send(connection: Any, *args: Any, **options: Any) -> None:
            if getattr(connection, "client_name", None) == "mortal":
                self.sent += 1
                if self.sent > self.left and not self.dies_after:
                    raise Killed
            await original(connection, *args, **options)
            if getattr(connection, "client_name", None) == "mortal" and self.sent > self.left:
                raise Killed

        monkeypatch.setattr(AbstractConnection, "send_packed_command", send)


@asynccontextmanager
async def _mortal_client(world: World) -> AsyncIterator[Redis]:
    client = connect(world.bus.url)
    client.connection_pool.connection_kwargs["client_name"] = "mortal"
    try:
        yield client
    finally:
        await client.connection_pool.disconnect(inuse_connections=True)
        await client.aclose()


async def test_a_killed_erasure_is_finished_by_whoever_comes_next(
    world: World, data: Path, redis_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before any of its commands, the job stays, messages stay out, and the next process ends it."""
    sys.stderr.write(f"\nerasure: repeat with FAULT_SEED={SEED}\n")
    dice, mortal = random.Random(SEED), Mortal(monkeypatch)
    await world.live_through(ANA)
    await world.live_through(BEN)
    before = await world.picture_of(BEN)
    deaths, receipts = 0, list[ErasureReceipt]()
    mortal.left = dice.randint(10, 60)
    async with _mortal_client(world) as client:
        with pytest.raises(Killed):
            await world.eraser(client).erase(*NAMED)
    while not receipts:
        mortal.sent, mortal.left = 0, dice.randint(20, 100 + 60 * deaths)
        mortal.dies_after = dice.random() < 0.5
        # Its lease runs out.
        await world.client.delete(Keys().state("erasure", "lease"))
        async with _mortal_client(world) as client:
            try:
                receipts = await world.eraser(client).resume()
            except Killed:
                deaths += 1
    sys.stderr.write(f"erasure: killed {deaths + 1} times\n")

    assert len(receipts) == 1
    assert sum(receipts[0].left.values()) == 0
    assert await world.files_hold(data, redis_folder, words=WORDS) == []
    assert await world.picture_of(BEN) == before
    assert await world.eraser().resume() == []


async def test_messages_that_come_meanwhile_are_refused_or_erased(world: World, redis_folder: Path) -> None:
    """What was accepted before is gone, what is accepted afterwards stays, and nothing lies in between."""
    conversation = f"telegram-{BOT}-{ANA.number}"
    accepted: list[tuple[str, str]] = []
    stop = asyncio.Event()

    async def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            message = world.message(ANA.telegram(), conversation, f"number {number}")
            status = (await world.bus.publish(message)).status
            accepted.append((message.text, status))
            await asyncio.sleep(0.001)

    writing = asyncio.create_task(write())
    await asyncio.sleep(0.1)
    await world.eraser(settle_s=0.05).erase(NAMED[0])
    await asyncio.sleep(0.05)
    stop.set()
    await writing

    statuses = [status for _, status in accepted]
    first_refused = statuses.index("FULL")
    came_back = next(at for at, status in enumerate(statuses) if at > first_refused and status == "OK")
    assert set(statuses[first_refused:came_back]) == {"FULL"}
    kept = [fields[b"body"].decode() for _, fields in await world.client.xrange(Keys().stream("inbound"))]
    expected = [text for text, status in accepted[came_back:] if status == "OK"]
    assert [text for text in expected if not any(f'"{text}"' in body for body in kept)] == []
    assert len(kept) == len(expected)


async def test_a_turn_that_runs_meanwhile_cannot_be_committed(world: World) -> None:
    """Neither its answer nor its live text comes back."""
    conversation = f"telegram-{BOT}-{ANA.number}"
    await world.ask(ANA.telegram(), conversation, f"slow {ANA.word}")
    lease = await world.enter("inbound", conversation)
    commit = await world.worker().handle(lease)

    await world.eraser().erase(NAMED[0])

    with pytest.raises(LeaseLost):
        await world.bus.queue("inbound", 0).commit(lease, "me", commit)
    assert await world.files_hold(words=[ANA.word]) == []


async def test_live_text_is_refused_while_somebody_is_erased(world: World) -> None:
    """A worker that has not heard of it yet shows nothing any more."""
    conversation = f"telegram-{BOT}-{ANA.number}"
    await world.client.set(Keys().erased(conversation), 1)
    writer = DeltaWriter(world.redis, shards=1, turn="1-0", conversation=conversation)

    await writer.add(ANA.word)
    await writer.close()

    assert await world.files_hold(words=[ANA.word]) == []


async def test_a_reply_that_is_being_sent_is_not_written_to_the_log(world: World) -> None:
    """The sender looks whether the reply is still its own before it writes, under the lock of the log."""
    conversation = f"telegram-{BOT}-{ANA.number}"
    await world.ask(ANA.telegram(), conversation, f"to be sent {ANA.word}")
    await world.work(conversation)
    lease = await world.enter("outbound:telegram", conversation)
    await world.eraser().erase(NAMED[0])
    from hub.bus.bus import parse_outbound  # noqa: PLC0415

    queue = world.bus.queue("outbound:telegram", 0)
    await InteractionLog(world.log).record(parse_outbound(lease.body), lambda: queue.renew(lease))

    assert not world.log.exists()


async def test_linked_identities_are_one_person(world: World) -> None:
    """Who names one of them names all, with the conversations of each."""
    await world.live_through(ANA)

    person = await world.eraser().find(NAMED[0])

    assert {one.connector for one in person.principals} == {"telegram", "web"}
    assert f"telegram-{BOT}-{GROUP}" in person.groups
    assert f"telegram-{BOT}-{GROUP}" not in person.conversations
    assert any(name.startswith("web-") for name in person.conversations)


class Gate:
    """A store at which an eraser stands still until it is let through."""

    name = "gate"

    def __init__(self) -> None:
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def erase(self, person: Person) -> int:
        """Wait."""
        self.reached.set()
        await self.opened.wait()
        return 0

    async def holds(self, person: Person) -> int:
        """Hold nothing."""
        return 0


async def test_the_running_hub_leaves_alone_what_another_process_erases(world: World) -> None:
    """Where both went on, one would remove what was written after the other's receipt."""
    gate, eraser = Gate(), world.eraser()
    eraser._stores = [gate, *eraser._stores]
    await world.live_through(ANA)
    erasing = asyncio.create_task(eraser.erase(*NAMED))
    await gate.reached.wait()

    assert await world.eraser().resume(wait=False) == []
    waiting = asyncio.create_task(world.eraser().erase(*NAMED))
    gate.opened.set()

    first, second = await erasing, await waiting
    assert sum(first.removed.values()) > 0
    assert sum(second.removed.values()) == 0
    assert second.begun_at < first.finished_at < second.finished_at
    assert await world.eraser().receipts() == [first, second]
    assert await world.files_hold(words=[ANA.word]) == []


async def test_a_process_that_was_away_too_long_does_not_go_on(world: World) -> None:
    """What was written after another's receipt stays, and nothing names the person again."""
    gate, eraser = Gate(), world.eraser()
    eraser._stores = [gate, *eraser._stores]
    await world.live_through(ANA)
    erasing = asyncio.create_task(eraser.erase(*NAMED))
    await gate.reached.wait()
    # Its lease has run out while it stood still.
    await world.client.delete(Keys().state("erasure", "lease"))
    [receipt] = await world.eraser().resume()
    conversation = f"telegram-{BOT}-{ANA.number}"
    entry = await world.ask(ANA.telegram(), conversation, f"I am back, {ANA.word}")

    gate.opened.set()
    with pytest.raises(ErasureTaken):
        await erasing

    assert [one for one, _ in await world.client.xrange(Keys().stream("inbound"))] == [entry.encode()]
    assert await world.eraser().receipts() == [receipt]
    job = await world.client.get(Keys().state("erasure", f"job:{receipt.id}"))
    assert ANA.number.encode() not in job
    assert await world.client.exists(Keys().erased(conversation)) == 0


async def test_an_erasure_that_cannot_end_keeps_no_other_from_ending(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were begun later are finished, and then the first one's error is told."""

    class Stubborn(Gate):
        async def erase(self, person: Person) -> int:
            return 0

        async def holds(self, person: Person) -> int:
            return int(any(one.person == ANA.number for one in person.principals))

    monkeypatch.setattr("hub.erasure.eraser.MOST_PASSES", 3)
    eraser = world.eraser()
    eraser._stores = [*eraser._stores, Stubborn()]
    with pytest.raises(ErasureIncomplete):
        await eraser.erase(NAMED[0])
    ben = Principal(connector="telegram", account=BOT, person=BEN.number)
    await eraser._jobs.add(ErasureJob(id="later", begun_at=utc_now(), person=Person.named(ben)))

    with pytest.raises(ErasureIncomplete, match="gate"):
        await eraser.resume()

    assert [receipt.id for receipt in await eraser.receipts()] == ["later"]


async def test_a_store_that_stays_full_is_told_and_the_job_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody gets a receipt for what was not done; once the cause is gone it is finished."""

    class Stubborn:
        name = "stubborn"
        full = True

        async def erase(self, person: Person) -> int:
            return 0

        async def holds(self, person: Person) -> int:
            return int(self.full)

    monkeypatch.setattr("hub.erasure.eraser.MOST_PASSES", 3)
    store, eraser = Stubborn(), world.eraser()
    eraser._stores = [*eraser._stores, store]
    with pytest.raises(ErasureIncomplete, match="stubborn"):
        await eraser.erase(NAMED[0])

    store.full = False

    assert len(await eraser.resume()) == 1


async def test_a_receipt_is_this_hubs_and_cannot_be_changed(world: World) -> None:
    """Any other number or another hub's key is noticed."""
    eraser = world.eraser()
    receipt = await eraser.erase(NAMED[0])
    key = await eraser.key()

    read_receipt(receipt.model_dump_json().encode()).verify(key)

    with pytest.raises(ReceiptForged):
        receipt.model_copy(update={"removed": {**receipt.removed, "memory": 7}}).verify(key)
    with pytest.raises(ReceiptForged):
        receipt.verify(b"another key of another hub------")
    with pytest.raises(ReceiptForged):
        read_receipt(b"{}")
    assert await eraser.receipts() == [receipt]


async def test_half_a_line_of_the_log_goes_with_whoever_it_names(world: World) -> None:
    """A kill in the middle of writing has left it, and another's line may follow without a break."""
    mine, others = f"telegram-{BOT}-{ANA.number}", f"telegram-{BOT}-{ANA.number}7"
    torn = f'{{"at": "2026-01-01", "conversation": "{mine}", "question": "Where is {ANA.word}'
    kept = f'{{"at": "2026-01-01", "conversation": "{others}", "question": "half of'
    world.log.write_text(f'{torn}{{"conversation": "x"}}\n{kept}\n')

    await world.eraser().erase(NAMED[0])

    assert world.log.read_text() == f"{kept}\n"


def test_an_identity_has_three_parts() -> None:
    """A person's own id may hold a slash, and an account may be the origin of a page."""
    assert parse_identity("web/shop/site:shop:a/b").person == "site:shop:a/b"
    page = parse_identity("web/https://shop.example:8443/0123abcd")
    assert (page.account, page.person) == ("https://shop.example:8443", "0123abcd")
    for wrong in (
        "",
        "telegram",
        "telegram/1",
        "telegram//1",
        "a/b/",
        "web/https://shop.example",
        "web/https://shop.example/",
    ):
        with pytest.raises(NobodyNamed):
            parse_identity(wrong)
