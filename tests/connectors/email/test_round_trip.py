"""A mail in, a reply out, through a real SMTP server and a real IMAP server."""

import asyncio
import email
import email.policy
import smtplib
from email.message import EmailMessage

import pytest

from connectors.email.ids import message_id
from hub.email_settings import EmailSettings
from hub.errors import DeliveryRefused, RetryLater
from hubbub.testing import MemoryStore
from tests.connectors.email.edges import Hub, SendProgress, account, reply_to
from tests.servers import smtp as smtp_server
from tests.servers.accounts import PASSWORD
from tests.servers.dovecot import Dovecot
from tests.servers.smtp import SmtpServer

HUB, JANE = "hub@example.org", "jane@example.net"


def _settings(dovecot: Dovecot, smtp: SmtpServer, **more: str | bool) -> EmailSettings:
    return EmailSettings(
        accounts=(account(HUB, dovecot.port, smtp.port, **more),), poll_s=5, command_timeout_s=5
    )


def _question(number: int = 1, text: str = "Which port does the hub use?", **headers: str) -> EmailMessage:
    mail = EmailMessage()
    values = {
        "From": f"Jane <{JANE}>",
        "To": HUB,
        "Subject": "A question",
        "Message-ID": f"<q{number}@example.net>",
    }
    for name, value in (values | headers).items():
        mail[name.replace("_", "-")] = value
    mail.set_content(text)
    return mail


def _post(smtp: SmtpServer, mail: EmailMessage) -> None:
    with smtplib.SMTP(smtp.host, smtp.port) as client:
        client.login(JANE, PASSWORD)
        client.send_message(mail)


def _inbox(dovecot: Dovecot, user: str = JANE, folder: str = "INBOX") -> list[EmailMessage]:
    return [email.message_from_bytes(raw, policy=email.policy.default) for raw in dovecot.mails(user, folder)]


async def test_mail_is_published_and_answered_in_its_thread(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """The reply carries everything a mail program needs to show it below the question."""
    async with Hub(_settings(dovecot, smtp, sent_folder="Sent")) as hub:
        await asyncio.to_thread(_post, smtp, _question(References="<first@example.net>"))
        (message,) = await hub.bus.received(1)
        progress = await hub.send(reply_to(message))

    assert message.text == "Which port does the hub use?"
    (reply,) = _inbox(dovecot)
    assert reply["In-Reply-To"] == "<q1@example.net>"
    assert reply["References"].split() == ["<first@example.net>", "<q1@example.net>"]
    assert reply["Subject"] == "Re: A question"
    assert reply["Auto-Submitted"] == "auto-replied"
    assert reply["Message-ID"] == message_id("1-0:0", HUB) == progress.placed_parts[0]
    plain, rich = reply.get_body(("plain",)), reply.get_body(("html",))
    assert plain is not None
    assert rich is not None
    assert "The **port** is 8080." in plain.get_content()
    assert "> Which port does the hub use?" in plain.get_content()
    assert "<strong>port</strong>" in rich.get_content()
    assert [copy["Message-ID"] for copy in _inbox(dovecot, HUB, "Sent")] == [reply["Message-ID"]]


async def test_owners_marks_are_left_alone(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """Reading by the hub leaves a mail unread; only the hub's own keyword is set."""
    async with Hub(_settings(dovecot, smtp)) as hub:
        await asyncio.to_thread(_post, smtp, _question())
        await hub.bus.received(1)
        await asyncio.to_thread(_post, smtp, _question(2))
        await hub.bus.received(2)

    flags = dovecot.flags(HUB)
    assert not any("\\Seen" in flag for flag in flags)
    assert "$HubDone" in flags[0]


async def test_mail_the_owner_has_read_is_answered_too(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """A person who looks into the mailbox first does not hide the mail from the hub."""
    _post(smtp, _question())
    with dovecot.client(HUB) as client:
        client.store("1", "+FLAGS", "\\Seen")

    async with Hub(_settings(dovecot, smtp)) as hub:
        messages = await hub.bus.received(1)

    assert len(messages) == 1


async def test_answer_to_an_answer_stays_in_the_conversation(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """A reply to the hub's mail belongs to the same conversation, though it names only the hub's Message-ID."""
    async with Hub(_settings(dovecot, smtp)) as hub:
        await asyncio.to_thread(_post, smtp, _question())
        (first,) = await hub.bus.received(1)
        progress = await hub.send(reply_to(first))
        follow_up = _question(2, "And over TLS?", In_Reply_To=progress.placed_parts[0])
        await asyncio.to_thread(_post, smtp, follow_up)
        messages = await hub.bus.received(2)

    assert messages[1].conversation == first.conversation
    assert messages[1].address.person == first.address.person


async def test_strangers_reference_opens_a_new_conversation(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """Naming somebody else's mail gives no access to their conversation."""
    async with Hub(_settings(dovecot, smtp)) as hub:
        await asyncio.to_thread(_post, smtp, _question())
        (first,) = await hub.bus.received(1)
        progress = await hub.send(reply_to(first))
        forged = _question(
            2, From="mallory@example.net", In_Reply_To=progress.placed_parts[0], References="<q1@example.net>"
        )
        await asyncio.to_thread(_post, smtp, forged)
        messages = await hub.bus.received(2)

    assert messages[1].conversation != first.conversation
    assert messages[1].address.person != first.address.person


@pytest.mark.parametrize(
    ("results", "is_verified"),
    [
        (["mx.example.org; dmarc=pass header.from=example.net"], True),
        (["mx.example.org; dmarc=none"], False),
        (["mx.evil.example; dmarc=pass", "mx.example.org; dmarc=pass"], False),
        ([], False),
    ],
    ids=["pass", "none", "forged below a foreign one", "nothing"],
)
async def test_only_who_is_vouched_for_is_the_same_person_in_the_next_mail(
    dovecot: Dovecot, smtp: SmtpServer, results: list[str], is_verified: bool
) -> None:
    """What is learnt from a verified sender is theirs in all threads; anybody else's stays in its thread."""
    head = "".join(f"Authentication-Results: {result}\r\n" for result in results)
    async with Hub(_settings(dovecot, smtp, authserv_id="mx.example.org")) as hub:
        for number in (1, 2):
            raw = (
                f"{head}From: JANE+tag{number}@Example.net\r\nTo: {HUB}\r\nMessage-ID: <q{number}@example.net>\r\n"
                f"Subject: Q\r\n\r\nHow do I begin?\r\n"
            )
            dovecot.deliver(JANE, [HUB], raw.encode())
        one, two = await hub.bus.received(2)

    assert one.conversation != two.conversation
    assert one.address.is_verified == two.address.is_verified == is_verified
    if is_verified:
        assert one.address.person == two.address.person == f"mailto:{JANE}"
    else:
        assert (one.address.person, two.address.person) == (one.conversation, two.conversation)


async def test_restart_publishes_nothing_again(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """Mail that arrived while the hub was down is found, mail dealt with before is not."""
    settings, store = _settings(dovecot, smtp), MemoryStore()
    async with Hub(settings, store) as hub:
        await asyncio.to_thread(_post, smtp, _question())
        await hub.bus.received(1)
    _post(smtp, _question(2))

    async with Hub(settings, store) as restarted:
        messages = await restarted.bus.received(1)

    assert [message.reply["message_id"] for message in messages] == ["<q2@example.net>"]


@pytest.mark.parametrize("way", ["provider saves sent mail", "copy to the own mailbox"])
async def test_unclear_send_leaves_one_mail(dovecot: Dovecot, way: str) -> None:
    """The server takes the mail and dies before it says so: the next attempt finds the mail and sends nothing."""
    provider = way.startswith("provider")
    with smtp_server.running(dovecot, saves_sent=provider) as smtp:
        hub = Hub(_settings(dovecot, smtp, sent_folder="Sent" if provider else "", self_copy=not provider))
        async with hub:
            await asyncio.to_thread(_post, smtp, _question())
            (message,) = await hub.bus.received(1)
            smtp.faults.append("drop after data")
            with pytest.raises(RetryLater) as error:
                await hub.send(reply_to(message))

            progress = await hub.send(reply_to(message), SendProgress(unclear_part=0))

        assert error.value.unclear
        assert progress.placed_parts == {0: message_id("1-0:0", HUB)}
        assert len(_inbox(dovecot)) == 1
        assert len(hub.bus.messages) == 1


async def test_unclear_send_of_a_dead_sender_is_looked_up(dovecot: Dovecot) -> None:
    """Another process finds what the dead one has sent, knowing only that the request had left."""
    with smtp_server.running(dovecot, saves_sent=True) as smtp:
        settings = _settings(dovecot, smtp, sent_folder="Sent")
        async with Hub(settings) as hub:
            await asyncio.to_thread(_post, smtp, _question())
            (message,) = await hub.bus.received(1)
            await hub.send(reply_to(message))

        successor = Hub(settings)
        progress = await successor.send(reply_to(message), SendProgress(unclear_part=0))

        assert progress.begun == []
        assert len(_inbox(dovecot)) == 1


async def test_lost_mail_is_sent_again_with_the_same_message_id(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """A connection that broke before the server had the mail costs nothing but time."""
    async with Hub(_settings(dovecot, smtp)) as hub:
        await asyncio.to_thread(_post, smtp, _question())
        (message,) = await hub.bus.received(1)
        smtp.faults.append("drop before data")
        with pytest.raises(RetryLater) as error:
            await hub.send(reply_to(message))

        await hub.send(reply_to(message), SendProgress(unclear_part=0))

    assert error.value.unclear
    assert [mail["Message-ID"] for mail in _inbox(dovecot)] == [message_id("1-0:0", HUB)]


async def test_refusals_tell_whether_to_try_again(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """4xx is tried later, 5xx never again, an unreachable server later; none of them leaves a doubt."""
    async with Hub(_settings(dovecot, smtp)) as hub:
        await asyncio.to_thread(_post, smtp, _question())
        (message,) = await hub.bus.received(1)
        smtp.faults.extend(["451 greylisted, come back", "550 no such person"])
        reply = reply_to(message)

        with pytest.raises(RetryLater) as greylisted:
            await hub.send(reply)
        with pytest.raises(DeliveryRefused):
            await hub.send(reply)
        smtp.stop()
        with pytest.raises(RetryLater) as unreachable:
            await hub.send(reply)

    assert not greylisted.value.unclear
    assert not unreachable.value.unclear


async def test_wrong_password_is_no_reason_to_drop_a_reply(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """The operator can mend it; the reply waits."""
    async with Hub(_settings(dovecot, smtp)) as hub:
        await asyncio.to_thread(_post, smtp, _question())
        (message,) = await hub.bus.received(1)
    wrong = Hub(_settings(dovecot, smtp, password="wrong"))

    with pytest.raises(RetryLater) as error:
        await wrong.send(reply_to(message))

    assert error.value.retry_after_s == 300


async def test_lookup_that_fails_waits_before_it_sends_again(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """While the mailbox cannot be asked, an unclear reply is not doubled; after ten tries it is sent."""
    async with Hub(_settings(dovecot, smtp)) as hub:
        await asyncio.to_thread(_post, smtp, _question())
        (message,) = await hub.bus.received(1)
    down = Hub(EmailSettings(accounts=(account(HUB, 1, smtp.port),), command_timeout_s=2))

    for _ in range(9):
        with pytest.raises(RetryLater):
            await down.send(reply_to(message), SendProgress(unclear_part=0))
    await down.send(reply_to(message), SendProgress(unclear_part=0))

    assert len(_inbox(dovecot)) == 1


async def test_missing_sent_folder_harms_nothing(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """The reply is delivered once although its copy cannot be kept."""
    async with Hub(_settings(dovecot, smtp, sent_folder="No such folder")) as hub:
        await asyncio.to_thread(_post, smtp, _question())
        (message,) = await hub.bus.received(1)

        progress = await hub.send(reply_to(message))

    assert 0 in progress.placed_parts
    assert len(_inbox(dovecot)) == 1
