"""Replies on their way out: servers that fall silent, refuse for a while, or tell later that it did not work."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from redis.asyncio import Redis

from connectors.base import Progress
from connectors.email import smtp as smtp_module
from connectors.email.connector import EmailConnector
from connectors.email.ids import message_id
from connectors.runner import Sender, run_connector
from hub.bus.bus import Bus
from hub.bus.consumer import ConsumerOptions, GiveBack
from hub.bus.keys import Keys
from hub.bus.queue import Lease, OrderedQueue
from hub.bus.state import State
from hub.email_settings import EmailSettings
from hub.errors import RetryLater
from hub.messages import Address, OutboundMessage
from hub.settings import BusSettings
from tests.connectors.email.edges import Hub, account, reply_to
from tests.servers import smtp as smtp_server
from tests.servers.dovecot import Dovecot
from tests.servers.redis import RedisServer
from tests.servers.smtp import SmtpServer

HUB, JANE = "hub@example.org", "jane@example.net"
GREYLISTED_S = 900.0


@pytest.fixture
async def bus(redis_server: RedisServer, redis: Redis) -> AsyncIterator[Bus]:
    """A bus over an empty Redis."""
    bus = Bus(redis_server.url, BusSettings())
    yield bus
    await bus.close()


@pytest.fixture
def queue(bus: Bus) -> OrderedQueue:
    """The replies of the connector."""
    return bus.queue("outbound:email", 0)


class CountingConnector(EmailConnector):
    """Counts its attempts to send, and those that have failed."""

    attempts = failures = 0

    async def send(self, message: OutboundMessage, progress: Progress) -> None:
        """Send a reply."""
        self.attempts += 1
        try:
            await super().send(message, progress)
        except RetryLater:
            self.failures += 1
            raise


def _connector(bus: Bus, dovecot: Dovecot, smtp: SmtpServer, **more: str | bool) -> CountingConnector:
    settings = EmailSettings(
        accounts=(account(HUB, dovecot.port, smtp.port, **more),), poll_s=5, command_timeout_s=5
    )
    return CountingConnector(settings, State(bus.redis, "email"), bus.dead_letters.quarantine)


def _reply() -> OutboundMessage:
    return OutboundMessage(
        reply_id="1-0:0",
        turn="1-0",
        conversation="email-1",
        address=Address(
            connector="email", account=HUB, chat=JANE, thread="<q1@example.net>", person="email-1"
        ),
        text="The port is 8080.",
        reply={"participant": JANE, "to": JANE, "subject": "A question", "message_id": "<q1@example.net>"},
    )


async def _publish(queue: OrderedQueue) -> str:
    reply = _reply()
    body = reply.model_dump_json().encode()
    return (await queue.publish(reply.reply_id, "email-1", body, remember_s=60)).entry


async def _state(redis: Any) -> bytes | None:
    return await redis.hget(Keys().sent("1-0:0"), "state")  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("fault", "way"),
    [
        ("drop after data", "provider"),
        ("drop after data", "self copy"),
        ("drop before data", "provider"),
    ],
)
async def test_server_that_dies_over_a_mail_holds_it_once(
    bus: Bus, queue: OrderedQueue, redis: Redis, dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch,
    fault: str, way: str,
) -> None:  # fmt: skip
    """It may have stored the mail before it died; once it is back, the mailbox holds exactly one."""
    monkeypatch.setattr(smtp_module, "RETRY_S", 0.2)
    with smtp_server.running(dovecot, saves_sent=way == "provider") as smtp:
        connector = _connector(bus, dovecot, smtp, self_copy=way == "self copy")
        smtp.faults.append(fault)
        stop = asyncio.Event()
        sender = Sender(bus, connector, give_up_s=600)
        running = asyncio.create_task(run_connector(connector, bus, sender, stop, options=ConsumerOptions()))
        await _publish(queue)
        async with asyncio.timeout(60):
            while not connector.failures:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(smtp.stop)
            while connector.attempts < 2:
                await asyncio.sleep(0.05)
            await asyncio.to_thread(smtp.restart)
            while await _state(redis) != b"placed":
                await asyncio.sleep(0.05)
        stop.set()
        await running

    (mail,) = dovecot.mails(JANE)
    assert message_id("1-0:0", HUB).encode() in mail


class GreylistingSmtp(SmtpServer):
    """Refuses everybody for the first 15 minutes of its own clock."""

    def __init__(self, dovecot: Dovecot) -> None:
        super().__init__(dovecot)
        self.now_s = 0.0
        self.refused = 0

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient, or not yet."""
        if self.now_s < GREYLISTED_S:
            self.refused += 1
            return "451 4.7.1 Greylisted, come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"


async def test_greylisted_reply_arrives_once_its_time_has_come(
    bus: Bus, queue: OrderedQueue, dovecot: Dovecot
) -> None:
    """Tried again with growing patience, the same mail each time, and never given up before."""
    smtp = GreylistingSmtp(dovecot)
    smtp.start()
    try:
        connector = _connector(bus, dovecot, smtp)
        sender = Sender(bus, connector, give_up_s=86_400)
        entry = await _publish(queue)
        lease = await queue.enter(entry, "email-1", "me")
        assert isinstance(lease, Lease)
        counted = False
        for retries in range(60):
            try:
                await sender.deliver(replace(lease, retries=retries))
                break
            except GiveBack as later:
                counted |= later.counts
                smtp.now_s += later.delay_s
    finally:
        smtp.stop()

    assert not counted
    assert smtp.refused >= 5
    assert smtp.now_s < 2 * GREYLISTED_S
    (mail,) = dovecot.mails(JANE)
    assert message_id("1-0:0", HUB).encode() in mail


def _bounce(reply: OutboundMessage, form: str) -> bytes:
    own_id = message_id(reply.reply_id, HUB)
    head = (
        f"Return-Path: <>\r\nFrom: MAILER-DAEMON@example.net\r\nTo: {HUB}\r\nMessage-ID: <b1@example.net>\r\n"
        "Subject: Undelivered Mail Returned to Sender\r\n"
    )
    if form == "plain":
        return f"{head}\r\nI am sorry, 550 5.1.1 no such person.\r\n\r\nMessage-ID: {own_id}\r\n".encode()
    return (
        f"{head}Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
        "--b\r\nContent-Type: text/plain\r\n\r\nYour mail could not be delivered.\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.net\r\n\r\n"
        f"Final-Recipient: rfc822; {JANE}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: {own_id}\r\n--b--\r\n"
    ).encode()


@pytest.mark.parametrize("form", ["report", "plain"])
async def test_bounce_is_recorded_and_never_answered(dovecot: Dovecot, smtp: SmtpServer, form: str) -> None:
    """What became of the reply is kept; a report about a mail that was never sent is not."""
    settings = EmailSettings(accounts=(account(HUB, dovecot.port, smtp.port),), poll_s=1, command_timeout_s=5)
    question = f"From: {JANE}\r\nTo: {HUB}\r\nMessage-ID: <q1@example.net>\r\nSubject: Q\r\n\r\nHow?\r\n"
    async with Hub(settings) as hub:
        dovecot.deliver(JANE, [HUB], question.encode())
        (message,) = await hub.bus.received(1)
        reply = reply_to(message)
        await hub.send(reply)
        never_sent = reply.model_copy(update={"reply_id": "99-0:0"})
        for raw in (_bounce(never_sent, form), _bounce(reply, form)):
            dovecot.deliver("", [HUB], raw)
        async with asyncio.timeout(30):
            while not (records := [v for k, v in hub.store.values.items() if k.startswith("email:bounce:")]):
                await asyncio.sleep(0.05)

    assert len(records) == 1
    assert message_id(reply.reply_id, HUB) in records[0]
    assert "5.1.1" in records[0]
    assert '"failed"' in records[0]
    assert len(hub.bus.messages) == 1
    assert len(smtp.accepted) == 1
