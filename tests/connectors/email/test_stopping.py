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
from hub.email_settings import EmailSettings
from hub.errors import BusError, DeliveryRefused, RetryLater
from hub.messages import Address, OutboundMessage, utc_now
from hubbub.testing import MemoryStore
from tests.connectors.email.edges import Hub, Quarantined, account, reply_to
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


def _mail(number: int, text: str, subject: str = "Frage", *, answers: int = 0) -> bytes:
    head = (
        f"From: Jane <{JANE}>\r\nTo: {HUB}\r\nMessage-ID: <q{number}@example.net>\r\nSubject: {subject}\r\n"
    )
    if answers:
        head += f"In-Reply-To: <q{answers}@example.net>\r\n"
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
        dovecot.deliver(
            JANE, [HUB], _mail(2, "STOP\r\n\r\n> Antworten Sie mit dem Wort STOP", "Re: Frage", answers=1)
        )
        (stopped,) = await inbox(dovecot, 1)
        with pytest.raises(DeliveryRefused):
            await hub.send(reply_to(question))
        dovecot.deliver(JANE, [HUB], _mail(3, "stop", answers=1))
        dovecot.deliver(JANE, [HUB], _mail(4, "Und wie geht das ohne TLS?"))
        await _handled(dovecot, 4)
        dovecot.deliver(JANE, [HUB], _mail(5, "START", answers=1))
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


async def test_an_order_of_somebody_else_is_not_obeyed(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """From can be forged: an order refers to a mail of the thread, or the sender's domain vouches for it."""
    settings = EmailSettings(accounts=(account(HUB, dovecot.port, smtp.port),), poll_s=1, command_timeout_s=5)
    async with Hub(settings) as hub:
        dovecot.deliver(JANE, [HUB], _mail(1, "Wie verbinde ich ein Postfach mit dem Hub?"))
        (question,) = await hub.bus.received(1)
        dovecot.deliver(JANE, [HUB], _mail(2, "STOP"))
        await _handled(dovecot, 2)
        await hub.send(reply_to(question))
        (mail,) = await inbox(dovecot, 1)

    assert "The **port** is 8080." in text_of(mail)
    assert len(hub.bus.messages) == 1


async def test_encrypted_mail_is_told_once_a_day(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """It cannot be read, and its sender learns that; a second one the same day changes nothing."""
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
    outbox = Outbox(store, sent, give_up_s=60, quarantine=Quarantined())
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
    outbox = Outbox(store, sent, give_up_s=60, quarantine=Quarantined())
    await outbox.put(_waiting())
    with pytest.raises(TimeoutError):
        await _run_until(outbox, store, 0.5)
    for key in [key for key in store.values if key.startswith("email:claim:")]:
        await store.delete(key)
    await _run_until(Outbox(store, sent, give_up_s=60, quarantine=Quarantined()), store)
    await outbox.put(_waiting())
    for key in [key for key in store.values if key.startswith("email:claim:")]:
        await store.delete(key)
    await _run_until(outbox, store)

    assert sent.unclear == [None, 0, None]
    assert len(sent.texts) == 1


async def test_outbox_drops_what_is_refused_and_puts_aside_what_it_cannot_read() -> None:
    """Neither stands in the way of the next mail."""
    store, sent, aside = MemoryStore(), Sent(DeliveryRefused("no")), Quarantined()
    outbox = Outbox(store, sent, give_up_s=60, quarantine=aside)
    await store.add(WAITING, "no mail at all")
    await outbox.put(_waiting(1))
    await outbox.put(_waiting(2))
    await _run_until(outbox, store)

    assert len(sent.texts) == 1
    assert [body for *_, body in aside.entries] == [b"no mail at all"]


async def test_outbox_puts_aside_what_fails_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake may be passing; the mail is kept for a person to look at when it is not."""
    monkeypatch.setattr("connectors.email.outbox.LOOK_EVERY_S", 0.01)
    store, aside = MemoryStore(), Quarantined()
    sent = Sent(*[ValueError("broken")] * 4)
    outbox = Outbox(store, sent, give_up_s=60, quarantine=aside)
    await outbox.put(_waiting(1, lines_from="lines"))
    passing = asyncio.create_task(_pass_time(store))
    await _run_until(outbox, store)
    assert (sent.texts, aside.entries) == (["0 mails\n\n"], [])

    sent.failures = [ValueError("broken")] * 5
    await outbox.put(_waiting(2))
    await _run_until(outbox, store)
    passing.cancel()

    assert len(sent.texts) == 1
    [(source, reason, body)] = aside.entries
    assert (source, "5 times" in reason) == ("email:outbox", True)
    assert b"n2:0" in body


async def _pass_time(store: MemoryStore) -> None:
    while True:
        await asyncio.sleep(0.01)
        store.now += 1


async def test_outbox_keeps_to_the_time_a_server_asks_for() -> None:
    """Whoever looks, in whichever process."""
    store, sent = MemoryStore(), Sent(RetryLater(300, "no login"))
    outbox = Outbox(store, sent, give_up_s=3600, quarantine=Quarantined())
    await outbox.put(_waiting(1))
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await _run_until(outbox, store, 0.3)
        store.now += 299
    store.now += 2
    await _run_until(Outbox(store, sent, give_up_s=3600, quarantine=Quarantined()), store)

    assert len(sent.unclear) == 2


async def test_a_stop_waits_for_the_mail_that_is_being_sent() -> None:
    """Cut off in the middle it could arrive twice."""
    store, began, may_end = MemoryStore(), asyncio.Event(), asyncio.Event()
    sent: list[str] = []

    async def send(message: OutboundMessage, progress: Progress) -> None:
        await progress.begin(0)
        began.set()
        await may_end.wait()
        sent.append(message.reply_id)
        await progress.placed(0, "<x@y>")

    outbox = Outbox(store, send, give_up_s=60, quarantine=Quarantined())
    await outbox.put(_waiting(1))
    running = asyncio.create_task(outbox.run())
    async with asyncio.timeout(10):
        await began.wait()
        running.cancel()
        await asyncio.sleep(0)
        may_end.set()
        await asyncio.wait({running})

    assert sent == ["n1:0"]
    assert await store.members(WAITING) == []


async def test_outbox_gives_up_in_the_end() -> None:
    """A mail that was due too long ago is not tried for ever."""
    store, sent = MemoryStore(), Sent(RetryLater(1, "later"))
    outbox = Outbox(store, sent, give_up_s=60, quarantine=Quarantined())
    await outbox.put(_waiting(due_at=utc_now() - timedelta(seconds=90)))
    await _run_until(outbox, store)

    assert sent.texts == []


async def test_outbox_waits_while_the_store_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on once the store is back."""
    monkeypatch.setattr("connectors.email.outbox.LOOK_EVERY_S", 0.05)
    store, sent = MemoryStore(), Sent(BusError("away"))
    outbox = Outbox(store, sent, give_up_s=60, quarantine=Quarantined())
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
