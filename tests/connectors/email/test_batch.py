"""A mailbox in which much is waiting: all of it is handed to the engines, once and in order, whatever happens."""

import asyncio
from collections import defaultdict
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from connectors.base import Accepted
from hub.bus.bus import parse_inbound
from hub.bus.keys import Keys
from hub.email_settings import EmailSettings
from hub.messages import InboundMessage, utc_now
from tests.connectors.email.edges import Bus, Hub, account
from tests.connectors.email.mail_process import COMMAND
from tests.servers.dovecot import Dovecot
from tests.servers.redis import RedisServer

HUB = "hub@example.org"
MAILS, SENDERS = 200, 100
ROOT = Path(__file__).resolve().parents[3]


def _mail(number: int) -> bytes:
    """Write mail `number`: each sender asks twice, the second time in the thread of the first."""
    sender = f"p{number % SENDERS}@example.net"
    thread = f"References: <m{number - SENDERS}@x>\r\n" if number >= SENDERS else ""
    return (
        f"From: {sender}\r\nTo: {HUB}\r\nMessage-ID: <m{number}@x>\r\nDate: {format_datetime(utc_now())}\r\n"
        f"{thread}Subject: Q\r\n\r\nQuestion number {number}?\r\n"
    ).encode()


def _fill(dovecot: Dovecot) -> None:
    for number in range(MAILS):
        dovecot.deliver(f"p{number % SENDERS}@example.net", [HUB], _mail(number))


async def _published(redis: Redis) -> list[InboundMessage]:
    client: Any = redis
    entries = await client.xrange(Keys(0).stream("inbound"))
    return [parse_inbound(fields[b"body"]) for _, fields in entries]


async def _until(redis: Redis, count: int) -> int:
    async with asyncio.timeout(120):
        while (found := int(await redis.xlen(Keys(0).stream("inbound")))) < count:
            await asyncio.sleep(0.005)
    return found


async def test_killed_connector_leaves_no_waiting_mail_behind(
    dovecot: Dovecot, redis_server: RedisServer, redis: Redis
) -> None:
    """200 mails wait, the connector is killed half-way: each is on the stream once, each thread in its order."""
    await asyncio.to_thread(_fill, dovecot)
    command = (*COMMAND, redis_server.url, HUB, str(dovecot.port), "1", "20")
    first = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
    reached = await _until(redis, MAILS // 2 - 20)
    first.kill()
    await first.wait()
    second = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
    try:
        await _until(redis, MAILS)
        async with asyncio.timeout(60):
            while not all("$HubDone" in flags for flags in await asyncio.to_thread(dovecot.flags, HUB)):
                await asyncio.sleep(0.2)
    finally:
        second.kill()
        await second.wait()

    messages = await _published(redis)
    assert reached < MAILS
    assert len(messages) == MAILS
    assert {message.text for message in messages} == {f"Question number {n}?" for n in range(MAILS)}
    threads: dict[str, list[int]] = defaultdict(list)
    for message in messages:
        threads[message.conversation].append(int(message.text.split()[2].rstrip("?")))
    assert len(threads) == SENDERS
    assert all(numbers == sorted(numbers) for numbers in threads.values())


class SlowBus(Bus):
    """Takes a while for each message, and tells how many it had to take at once."""

    def __init__(self, wait_s: float = 0.0) -> None:
        super().__init__()
        self.at_once = self.most_at_once = 0
        self._wait_s = wait_s

    async def publish(self, message: InboundMessage) -> Accepted:
        """Accept a message."""
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        await asyncio.sleep(0.02)
        accepted = await super().publish(message)
        self.at_once -= 1
        return Accepted(turn=accepted.turn, wait_s=self._wait_s)


async def test_many_are_published_at_once_and_no_more_than_allowed(dovecot: Dovecot) -> None:
    """What is handed over together is bounded by the setting, and nothing is marked before it is published."""
    for number in range(30):
        dovecot.deliver("jane@example.net", [HUB], _mail(number))
    settings = EmailSettings(accounts=(account(HUB, dovecot.port),), batch=8, poll_s=1, command_timeout_s=5)
    hub = Hub(settings)
    hub.bus = bus = SlowBus()

    async with hub:
        await bus.received(30)

    assert 1 < bus.most_at_once <= 8


async def test_a_full_mailbox_leaves_room_for_others(dovecot: Dovecot) -> None:
    """Where the engines have work for long, the next batch waits until about half of it is done."""
    for number in range(4):
        dovecot.deliver("jane@example.net", [HUB], _mail(number))
    settings = EmailSettings(accounts=(account(HUB, dovecot.port),), batch=2, poll_s=1, command_timeout_s=5)
    hub = Hub(settings)
    hub.bus = bus = SlowBus(wait_s=2.0)

    async with hub:
        await bus.received(2)
        before = asyncio.get_running_loop().time()
        await bus.received(4)

    assert asyncio.get_running_loop().time() - before > 0.9
