"""People who asked on a page and left an address: their answers come by mail, once, and what they reply is mail."""

import email.policy
from email.message import EmailMessage

from connectors.email.threads import Threads
from connectors.email.visitors import VisitorMail
from hub.email_settings import EmailSettings, MailAccountSettings
from hub.messages import Address, OutboundMessage
from hubbub.testing import MemoryStore
from tests.connectors.email.edges import Hub, account
from tests.connectors.email.test_stopping import inbox, text_of
from tests.servers.dovecot import Dovecot
from tests.servers.smtp import SmtpServer

HUB, JANE = "hub@example.org", "jane@example.net"


def _answer(**more: object) -> OutboundMessage:
    values = {
        "reply_id": "1-0:0",
        "turn": "1-0",
        "conversation": "web-hub-a",
        "address": Address(connector="web", account="hub", chat="a", person="a"),
        "text": "It opens at **nine**.",
        "question": "When does it open?\nAnd on Sundays?",
        "reply": {"language": "de"},
    }
    return OutboundMessage.model_validate(values | more)


def _mailbox(dovecot: Dovecot, smtp: SmtpServer) -> MailAccountSettings:
    return account(HUB, dovecot.port, smtp.port)


async def test_an_answer_arrives_once(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """However often it is handed over; under the question, in the visitor's language, with how to stop."""
    mailbox, store = _mailbox(dovecot, smtp), MemoryStore()
    for _ in range(2):
        await VisitorMail(mailbox, store).mail(_answer(), JANE)
    async with Hub(EmailSettings(accounts=(mailbox,), poll_s=1), store=store):
        [mail] = await inbox(dovecot, 1)
    await VisitorMail(mailbox, store).mail(_answer(), JANE)
    async with Hub(EmailSettings(accounts=(mailbox,), poll_s=1), store=store):
        # A second answer shows that the first one is not sent again.
        await VisitorMail(mailbox, store).mail(_answer(reply_id="2-0:0", turn="2-0", text="Again"), JANE)
    async with Hub(EmailSettings(accounts=(mailbox,), poll_s=1), store=store):
        mails = await inbox(dovecot, 2)

    assert (mail["To"], mail["Subject"]) == (JANE, "Re: When does it open?")
    assert mail["Content-Language"] == "de"
    text = text_of(mail)
    assert "It opens at **nine**." in text
    assert "> And on Sundays?" in text
    assert "STOP" in text
    assert len(mails) == 2


async def test_a_reply_to_it_is_a_mail_of_its_own_conversation(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """It belongs to the thread that began with the answer, and to nobody else's."""
    mailbox, store = _mailbox(dovecot, smtp), MemoryStore()
    await VisitorMail(mailbox, store).mail(_answer(), JANE)
    async with Hub(EmailSettings(accounts=(mailbox,), poll_s=1), store=store) as hub:
        [mail] = await inbox(dovecot, 1)
        reply = EmailMessage(policy=email.policy.SMTP)
        reply["From"], reply["To"], reply["Subject"] = JANE, HUB, mail["Subject"]
        reply["Message-ID"], reply["In-Reply-To"] = "<r1@example.net>", mail["Message-ID"]
        reply.set_content("And in winter?")
        dovecot.deliver(JANE, [HUB], reply.as_bytes())
        [message] = await hub.bus.received(1)

    thread = await Threads(store, HUB).of(mail["Message-ID"])
    assert thread is not None
    assert message.conversation == thread.conversation
    assert message.text == "And in winter?"


async def test_somebody_who_wrote_stop_gets_none(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """STOP holds for what is left on a page, too: anybody could leave their address there."""
    mailbox, store = _mailbox(dovecot, smtp), MemoryStore()
    await VisitorMail(mailbox, store).mail(_answer(), JANE)
    async with Hub(EmailSettings(accounts=(mailbox,), poll_s=1), store=store):
        [mail] = await inbox(dovecot, 1)
        stop = EmailMessage(policy=email.policy.SMTP)
        stop["From"], stop["To"], stop["Subject"] = JANE, HUB, "STOP"
        stop["Message-ID"], stop["In-Reply-To"] = "<s1@example.net>", mail["Message-ID"]
        stop.set_content("STOP")
        dovecot.deliver(JANE, [HUB], stop.as_bytes())
        # The confirmation is the last one.
        await inbox(dovecot, 2)
    await VisitorMail(mailbox, store).mail(_answer(reply_id="2-0:0", turn="2-0"), JANE)
    await VisitorMail(mailbox, store).mail(_answer(reply_id="3-0:0", turn="3-0"), HUB)
    async with Hub(EmailSettings(accounts=(mailbox,), poll_s=1), store=store):
        # What goes to somebody else shows that the outbox was looked at.
        await inbox(dovecot, 2, HUB)

    assert len(dovecot.mails(JANE)) == 2
