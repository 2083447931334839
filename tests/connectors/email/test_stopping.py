"""People who want no answers, and the mails that the connector writes to them by itself."""

import asyncio
import email
import email.policy
from datetime import timedelta
from email.message import EmailMessage

import pytest

from connectors.base import Progress
from connectors.email.mail import ParsedMail
from connectors.email.no_answers import order_of
from connectors.email.outbox import WAITING, Outbox, Waiting
from hub.errors import BusError, DeliveryRefused, RetryLater
from hub.messages import Address, OutboundMessage, utc_now
from hub.settings import EmailSettings
from hubbub.testing import MemoryStore
from tests.connectors.email.edges import Hub, account, reply_to
from tests.servers.dovecot import Dovecot
from tests.servers.smtp import SmtpServer

HUB, JANE = "hub@example.org", "jane@example.net"


@pytest.mark.parametrize(
    ("text", "subject", "expected"),
    [
        ("STOP", "Re: Q", "stop"),
        ("stop.", "Re: Q", "stop"),
        ("“Stop”\n\nJane", "Re: Q", "stop"),
        ("Unsubscribe", "", "stop"),
        ("", "STOP", "stop"),
        ("", "Re: STOP", "stop"),
        ("START", "", "start"),
        ("How do I stop it?", "STOP", ""),
        ("Stop the server\nnow", "", ""),
        ("STOP\nOr how do I end it?", "", ""),
        ("STOP\n" + "Much more text follows here. " * 10, "", ""),
        ("", "Question", ""),
    ],
)
def test_an_order_is_a_word_on_its_own(text: str, subject: str, expected: str) -> None:
    """A question about stopping is a question."""
    assert order_of(ParsedMail(sender=JANE, text=text, subject=subject)) == expected


def _mail(number: int, text: str, subject: str = "Frage") -> bytes:
    head = (
        f"From: Jane <{JANE}>\r\nTo: {HUB}\r\nMessage-ID: <q{number}@example.net>\r\nSubject: {subject}\r\n"
    )
    return f"{head}Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n".encode()


async def inbox(dovecot: Dovecot, count: int, owner: str = JANE) -> list[EmailMessage]:
    """Wait until so many mails lie in a mailbox."""
    async with asyncio.timeout(60):
        while len(raws := await asyncio.to_thread(dovecot.mails, owner)) < count:
            await asyncio.sleep(0.05)
    return [email.message_from_bytes(raw, policy=email.policy.default) for raw in raws]


async def _handled(dovecot: Dovecot, count: int) -> None:
    async with asyncio.timeout(60):
        while sum("$HubDone" in flags for flags in await asyncio.to_thread(dovecot.flags, HUB)) < count:
            await asyncio.sleep(0.05)


def text_of(mail: EmailMessage) -> str:
    """Return the plain part."""
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


async def test_stop_is_honoured_and_confirmed_once_until_start(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """From STOP on there are no answers, not even those under way; START brings them back."""
    settings = EmailSettings(accounts=(account(HUB, dovecot.port, smtp.port),), poll_s=1, command_timeout_s=5)
    async with Hub(settings) as hub:
        dovecot.deliver(JANE, [HUB], _mail(1, "Wie verbinde ich ein Postfach mit dem Hub?"))
        (question,) = await hub.bus.received(1)
        dovecot.deliver(JANE, [HUB], _mail(2, "STOP\r\n\r\n> Antworten Sie mit dem Wort STOP", "Re: Frage"))
        (stopped,) = await inbox(dovecot, 1)
        with pytest.raises(DeliveryRefused):
            await hub.send(reply_to(question))
        dovecot.deliver(JANE, [HUB], _mail(3, "stop"))
        dovecot.deliver(JANE, [HUB], _mail(4, "Und wie geht das ohne TLS?"))
        await _handled(dovecot, 4)
        dovecot.deliver(JANE, [HUB], _mail(5, "START"))
        _, started = await inbox(dovecot, 2)
        dovecot.deliver(JANE, [HUB], _mail(6, "Und wie geht das mit STARTTLS?"))
        messages = await hub.bus.received(2)
        await hub.send(reply_to(messages[1], turn="2-0"))
        mails = await inbox(dovecot, 3)

    assert "Schreiben Sie START" in text_of(stopped)
    assert (stopped["Subject"], stopped["In-Reply-To"]) == ("Re: Frage", "<q2@example.net>")
    assert stopped["Auto-Submitted"] == "auto-replied"
    assert started["In-Reply-To"] == "<q5@example.net>"
    assert [message.text for message in messages][1] == "Und wie geht das mit STARTTLS?"
    assert messages[1].reply["language"] == "de"
    assert "Guten Tag Jane," in text_of(mails[2])
    assert len(smtp.accepted) == 3


async def test_encrypted_mail_is_told_once_a_day(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """E62: it cannot be read, and its sender learns that; a second one the same day changes nothing."""
    secret = "-----BEGIN PGP MESSAGE-----\r\n\r\nhQEMA0=\r\n-----END PGP MESSAGE-----"
    settings = EmailSettings(accounts=(account(HUB, dovecot.port, smtp.port),), poll_s=1, command_timeout_s=5)
    async with Hub(settings) as hub:
        for number in (1, 2):
            dovecot.deliver(JANE, [HUB], _mail(number, secret))
        (mail,) = await inbox(dovecot, 1)
        await _handled(dovecot, 2)

    assert "encrypted" in text_of(mail)
    assert "PGP" not in text_of(mail)
    assert hub.bus.messages == []
    assert await hub.store.members(WAITING) == []


async def test_nobody_is_told_anything_who_may_not_have_written(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """Where the mail server checks senders and does not vouch for this one, a notice could reach a stranger."""
    mailbox = account(HUB, dovecot.port, smtp.port, authserv_id="mx.example.org")
    secret = _mail(1, "-----BEGIN PGP MESSAGE-----")
    settings = EmailSettings(accounts=(mailbox,), poll_s=1, command_timeout_s=5)
    async with Hub(settings) as hub:
        dovecot.deliver(JANE, [HUB], secret)
        await _handled(dovecot, 1)

    assert await hub.store.members(WAITING) == []
    assert smtp.accepted == []


def _waiting(number: int = 1, **more: object) -> Waiting:
    message = OutboundMessage(
        reply_id=f"n{number}:0",
        turn=f"n{number}",
        conversation="email-1",
        address=Address(connector="email", account=HUB, chat=JANE, person="email-1"),
        kind="notice",
        text="{count} mails",
    )
    return Waiting.model_validate({"message": message} | more)


class Sent:
    """Takes what the outbox sends, after the failures it was given."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.texts: list[str] = []
        self.unclear: list[int | None] = []

    async def __call__(self, message: OutboundMessage, progress: Progress) -> None:
        """Send one mail."""
        self.unclear.append(progress.unclear_part)
        if 0 in progress.placed_parts:
            return
        await progress.begin(0)
        if self.failures:
            raise self.failures.pop(0)
        self.texts.append(message.text)
        await progress.placed(0, "<x@y>")


async def _run_until(outbox: Outbox, store: MemoryStore, seconds: float = 10.0) -> None:
    running = asyncio.create_task(outbox.run())
    try:
        async with asyncio.timeout(seconds):
            while await store.members(WAITING):
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_outbox_sends_each_mail_once_with_its_lines() -> None:
    """Put in twice, sent once, with what had gathered until then."""
    store, sent = MemoryStore(), Sent()
    outbox = Outbox(store, sent, give_up_s=60)
    await store.add("lines", "one")
    await store.add("lines", "two")
    waiting = _waiting(due_at=utc_now() + timedelta(seconds=0.2), lines_from="lines")
    await outbox.put(waiting)
    await outbox.put(waiting)
    await _run_until(outbox, store)

    assert sent.texts == ["2 mails\n\n- one\n- two"]
    assert await store.members("lines") == []


async def test_outbox_knows_what_an_earlier_process_has_sent() -> None:
    """A mail that left before the crash is not sent again, one that may have left is looked up."""
    store, sent = MemoryStore(), Sent(RetryLater(1, "no answer", unclear=True))
    outbox = Outbox(store, sent, give_up_s=60)
    await outbox.put(_waiting())
    with pytest.raises(TimeoutError):
        await _run_until(outbox, store, 0.5)
    for key in [key for key in store.values if key.startswith("email:claim:")]:
        await store.delete(key)
    await _run_until(Outbox(store, sent, give_up_s=60), store)
    await outbox.put(_waiting())
    for key in [key for key in store.values if key.startswith("email:claim:")]:
        await store.delete(key)
    await _run_until(outbox, store)

    assert sent.unclear == [None, 0, None]
    assert len(sent.texts) == 1


@pytest.mark.parametrize("failure", [DeliveryRefused("no"), ValueError("broken")])
async def test_outbox_drops_what_can_never_be_sent(failure: Exception) -> None:
    """Neither a refusal nor a mistake stands in the way of the next mail."""
    store, sent = MemoryStore(), Sent(failure)
    outbox = Outbox(store, sent, give_up_s=60)
    await store.add(WAITING, "no mail at all")
    await outbox.put(_waiting(1))
    await outbox.put(_waiting(2))
    await _run_until(outbox, store)

    assert len(sent.texts) == 1


async def test_outbox_gives_up_in_the_end() -> None:
    """A mail that was due too long ago is not tried for ever."""
    store, sent = MemoryStore(), Sent(RetryLater(1, "later"))
    outbox = Outbox(store, sent, give_up_s=60)
    await outbox.put(_waiting(due_at=utc_now() - timedelta(seconds=90)))
    await _run_until(outbox, store)

    assert sent.texts == []


async def test_outbox_waits_while_the_store_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on once the store is back."""
    monkeypatch.setattr("connectors.email.outbox.LOOK_EVERY_S", 0.05)
    store, sent = MemoryStore(), Sent(BusError("away"))
    outbox = Outbox(store, sent, give_up_s=60)
    await outbox.put(_waiting())
    running = asyncio.create_task(outbox.run())
    async with asyncio.timeout(5):
        while sent.failures:
            await asyncio.sleep(0.01)
        for key in [key for key in store.values if key.startswith("email:claim:")]:
            await store.delete(key)
        while not sent.texts:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait({running})

    assert len(sent.texts) == 1
