"""Two hubs that answer each other, over servers that strip every header which could tell."""

import asyncio
import email
import email.policy
from collections.abc import Callable
from email.message import EmailMessage

import pytest

from connectors.email import notices
from connectors.email.ids import message_id
from connectors.email.outbox import WAITING
from hub.email_settings import EmailSettings
from hub.messages import InboundMessage
from tests.connectors.email.edges import Hub, account, reply_to
from tests.servers.dovecot import Dovecot
from tests.servers.smtp import SmtpServer

ONE, TWO, JANE = "hub@example.org", "other@example.org", "jane@example.net"
KEPT = ("from", "to", "subject", "date")
THREADING = ("message-id", "in-reply-to", "references")


class StrippingSmtp(SmtpServer):
    """Delivers plain text with the headers of `kept` and no others."""

    kept = (*KEPT, *THREADING)

    def _deliver(self, sender: str, recipients: list[str], raw: bytes) -> None:
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        plain = mail.get_body(("plain",))
        assert plain is not None
        head = "".join(f"{name}: {mail[name]}\r\n" for name in self.kept if mail[name])
        super()._deliver(sender, recipients, f"{head}\r\n{plain.get_content()}".encode())


class ForgetfulSmtp(SmtpServer):
    """Delivers with new Message-IDs and nothing but the most common headers."""

    shortens = False
    """Whether it also leaves the quoted mail and the footer away."""

    def _deliver(self, sender: str, recipients: list[str], raw: bytes) -> None:
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        plain = mail.get_body(("plain",))
        assert plain is not None
        bare = EmailMessage()
        for name in KEPT:
            bare[name] = mail[name]
        bare["Message-ID"] = f"<relay{len(self.accepted)}@relay.example>"
        text = plain.get_content()
        bare.set_content(text.partition("On ")[0] if self.shortens else text)
        super()._deliver(sender, recipients, bare.as_bytes(policy=email.policy.SMTP))


async def _answer_everything(hub: Hub) -> None:
    answered = 0
    while True:
        messages: list[InboundMessage] = await hub.bus.received(answered + 1, timeout_s=300)
        message = messages[answered]
        answered += 1
        await hub.send(reply_to(message, f"Answer {answered} to you?", turn=f"{answered}-0"))


def _two_hubs(dovecot: Dovecot, server: SmtpServer, **limits: int) -> list[Hub]:
    return [Hub(_settings(dovecot, server, address, **limits)) for address in (ONE, TWO)]


def _has_refused(hubs: list[Hub], why: str) -> bool:
    return any(why in hub.store.values.values() for hub in hubs)


async def _converse(hubs: list[Hub], dovecot: Dovecot, *, until: Callable[[], bool]) -> None:
    """Let the first hub get a mail from the second one's address, and both answer all, until something is so."""
    start = f"From: {TWO}\r\nTo: {ONE}\r\nMessage-ID: <start@x>\r\nSubject: Hi\r\n\r\nWho are you?\r\n"
    dovecot.deliver(TWO, [ONE], start.encode())
    async with hubs[0], hubs[1]:
        answering = [asyncio.create_task(_answer_everything(hub)) for hub in hubs]
        try:
            async with asyncio.timeout(90):
                while not await asyncio.to_thread(until):
                    await asyncio.sleep(0.1)
        finally:
            for task in answering:
                task.cancel()
            await asyncio.wait(answering)


async def test_two_hubs_behind_a_relay_that_strips_all_headers_stop_soon(dovecot: Dovecot) -> None:
    """What no relay takes away is what a reply says of itself: two mails of the one, one of the other."""
    server = ForgetfulSmtp(dovecot)
    server.start()
    try:
        hubs = _two_hubs(dovecot, server)
        await _converse(hubs, dovecot, until=lambda: _has_refused(hubs, "own_words"))
    finally:
        server.stop()

    assert [len(hub.bus.messages) for hub in hubs] == [2, 1]
    assert len(server.accepted) == 3


async def test_two_hubs_stop_at_the_caps(dovecot: Dovecot) -> None:
    """Without anything else to tell, the count of answers ends it."""
    server = ForgetfulSmtp(dovecot)
    server.shortens = True
    server.start()
    try:
        hubs = _two_hubs(dovecot, server, replies_per_sender_10min=3)
        await _converse(hubs, dovecot, until=lambda: _has_refused(hubs, "sender_10min_limit"))
    finally:
        server.stop()

    assert [len(hub.bus.messages) for hub in hubs] == [3, 3]
    assert len(server.accepted) == 6


async def test_two_hubs_stop_where_only_the_threads_headers_are_left(dovecot: Dovecot) -> None:
    """The Message-ID tells that a hub wrote; the one answer of the first hub is the only automatic mail."""
    server = StrippingSmtp(dovecot)
    server.start()
    try:
        hubs = _two_hubs(dovecot, server)
        await _converse(hubs, dovecot, until=lambda: any("$HubDone" in flags for flags in dovecot.flags(TWO)))
    finally:
        server.stop()

    assert b"Auto-Submitted" not in dovecot.mails(TWO)[0]
    assert b"in-reply-to: <start@x>" in dovecot.mails(TWO)[0]
    assert [len(hub.bus.messages) for hub in hubs] == [1, 0]
    assert len(server.accepted) == 1


def _mail(number: int, text: str, *lines: str) -> bytes:
    head = [f"From: {JANE}", f"To: {ONE}", f"Message-ID: <j{number}@x>", f"Subject: Ticket {number}", *lines]
    return "\r\n".join([*head, "", text, ""]).encode()


def _settings(dovecot: Dovecot, smtp: SmtpServer, address: str = ONE, **more: int) -> EmailSettings:
    values = {"accounts": (account(address, dovecot.port, smtp.port),), "poll_s": 1, "command_timeout_s": 5}
    return EmailSettings.model_validate(values | more)


async def _handled(dovecot: Dovecot, count: int) -> None:
    async with asyncio.timeout(90):
        while sum("$HubDone" in flags for flags in await asyncio.to_thread(dovecot.flags, ONE)) < count:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(("in_one_thread", "answered"), [(True, 3), (False, 5)])
async def test_same_text_is_answered_a_few_times_a_day(
    dovecot: Dovecot, smtp: SmtpServer, in_one_thread: bool, answered: int
) -> None:
    """What always says the same is a machine; a short thank you may come more often."""
    settings = _settings(dovecot, smtp, replies_per_sender_10min=20)
    thread = ["References: <j0@x>"] if in_one_thread else []
    async with Hub(settings) as hub:
        for number in range(8):
            text = "we have received your mail." if number % 2 else "We have received your   MAIL."
            dovecot.deliver(JANE, [ONE], _mail(number, text, *(thread if number else [])))
        for number in range(8, 12):
            dovecot.deliver(JANE, [ONE], _mail(number, "Thank you!"))
        await _handled(dovecot, 12)

    assert len(hub.bus.messages) == answered + 4
    assert "same_text" in hub.store.values.values()


async def test_thread_that_is_full_of_our_own_mail_is_left(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """More than ten answers of ours in one thread are a loop, also where nobody remembers them."""
    own = [message_id(f"{n}-0:0", ONE) for n in range(11)]
    async with Hub(_settings(dovecot, smtp)) as hub:
        dovecot.deliver(JANE, [ONE], _mail(1, "Again?", "References: " + "\r\n ".join(own[:10])))
        dovecot.deliver(JANE, [ONE], _mail(2, "And again?", "References: " + "\r\n ".join(own)))
        await _handled(dovecot, 2)

    assert [message.text for message in hub.bus.messages] == ["Again?"]


async def test_hundred_mails_in_a_minute_get_five_answers_and_one_digest(
    dovecot: Dovecot, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is named to the sender in one mail, and then nothing more is said that day."""
    monkeypatch.setattr(notices, "DIGEST_AFTER_S", 10.0)
    for number in range(100):
        dovecot.deliver(JANE, [ONE], _mail(number, f"Question number {number}?"))
    async with Hub(_settings(dovecot, smtp)) as hub:
        await _handled(dovecot, 100)
        async with asyncio.timeout(60):
            while not smtp.accepted:
                await asyncio.sleep(0.1)
        dovecot.deliver(JANE, [ONE], _mail(100, "And one more?"))
        await _handled(dovecot, 101)

    assert len(hub.bus.messages) == 5
    (digest,) = smtp.accepted
    mail = email.message_from_bytes(digest, policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    plain = mail.get_body(("plain",))
    assert plain is not None
    assert "95" in plain.get_content()
    assert plain.get_content().count("- Ticket") == notices.MAX_DIGEST_LINES
    assert await hub.store.members(WAITING) == []


async def test_two_hubs_do_not_even_begin(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """Over honest servers the first automatic answer is not answered."""
    hubs = [
        Hub(EmailSettings(accounts=(account(a, dovecot.port, smtp.port),), poll_s=1, command_timeout_s=5))
        for a in (ONE, TWO)
    ]
    start = f"From: {TWO}\r\nTo: {ONE}\r\nMessage-ID: <start@x>\r\nSubject: Hi\r\n\r\nWho are you?\r\n"
    dovecot.deliver(TWO, [ONE], start.encode())
    async with hubs[0], hubs[1]:
        (message,) = await hubs[0].bus.received(1)
        await hubs[0].send(reply_to(message))
        async with asyncio.timeout(60):
            while not any("$HubDone" in flags for flags in await asyncio.to_thread(dovecot.flags, TWO)):
                await asyncio.sleep(0.1)

    assert hubs[1].bus.messages == []
