"""Two hubs that answer each other, over servers that strip every header which could tell."""

import asyncio
import email
import email.policy
from email.message import EmailMessage

from hub.messages import InboundMessage
from hub.settings import EmailSettings
from tests.connectors.email.edges import Hub, account, reply_to
from tests.servers.dovecot import Dovecot
from tests.servers.smtp import SmtpServer

ONE, TWO = "hub@example.org", "other@example.org"
KEPT = ("from", "to", "subject", "date")


class ForgetfulSmtp(SmtpServer):
    """Delivers with new Message-IDs and nothing but the most common headers."""

    def _deliver(self, sender: str, recipients: list[str], raw: bytes) -> None:
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        plain = mail.get_body(("plain",))
        assert plain is not None
        bare = EmailMessage()
        for name in KEPT:
            bare[name] = mail[name]
        bare["Message-ID"] = f"<relay{len(self.accepted)}@relay.example>"
        bare.set_content(plain.get_content().partition("On ")[0])
        super()._deliver(sender, recipients, bare.as_bytes(policy=email.policy.SMTP))


async def _answer_everything(hub: Hub) -> None:
    answered = 0
    while True:
        messages: list[InboundMessage] = await hub.bus.received(answered + 1, timeout_s=300)
        message = messages[answered]
        answered += 1
        await hub.send(reply_to(message, f"Answer {answered} to you?", turn=f"{answered}-0"))


async def test_two_hubs_stop_at_the_caps(dovecot: Dovecot) -> None:
    """Without any header to tell, the count of answers ends it."""
    server = ForgetfulSmtp(dovecot)
    server.start()
    try:
        limits = {"poll_s": 1, "command_timeout_s": 5, "replies_per_sender_10min": 3}
        hubs = [
            Hub(
                EmailSettings.model_validate({"accounts": (account(a, dovecot.port, server.port),), **limits})
            )
            for a in (ONE, TWO)
        ]
        start = f"From: {TWO}\r\nTo: {ONE}\r\nMessage-ID: <start@x>\r\nSubject: Hi\r\n\r\nWho are you?\r\n"
        dovecot.deliver(TWO, [ONE], start.encode())
        async with hubs[0], hubs[1]:
            answering = [asyncio.create_task(_answer_everything(hub)) for hub in hubs]
            try:
                # Each hub ignores the mail after its third; then nothing is on its way any more.
                await hubs[0].bus.received(3, 60)
                await hubs[1].bus.received(3, 60)
                async with asyncio.timeout(60):
                    while not await _has_refused(hubs):
                        await asyncio.sleep(0.1)
            finally:
                for task in answering:
                    task.cancel()
                await asyncio.wait(answering)
    finally:
        server.stop()

    assert [len(hub.bus.messages) for hub in hubs] == [3, 3]
    assert len(server.accepted) == 6


async def _has_refused(hubs: list[Hub]) -> bool:
    return any("sender_10min_limit" in hub.store.values.values() for hub in hubs)


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
