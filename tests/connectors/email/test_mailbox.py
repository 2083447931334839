"""A mailbox that is watched through everything that a server, or a mail, can do wrong."""

import asyncio
import imaplib
import re
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from connectors.email.state import Watermark, digest
from hub.email_settings import EmailSettings
from hub.errors import BusError, BusFull
from hub.messages import utc_now
from hubbub.testing import MemoryStore
from tests.connectors.email.edges import Hub, account
from tests.servers import dovecot as dovecot_server
from tests.servers.dovecot import Dovecot
from tests.servers.imap_script import Fault, ScriptedImap

HUB, JANE = "hub@example.org", "jane@example.net"


def _mail(number: int, text: str = "How?", sent_at: datetime | None = None, sender: str = JANE) -> bytes:
    date = format_datetime(sent_at or utc_now())
    return (
        f"From: {sender}\r\nTo: {HUB}\r\nMessage-ID: <m{number}@x>\r\nDate: {date}\r\nSubject: Q\r\n\r\n{text}\r\n"
    ).encode()


def _settings(port: int, **more: float | str) -> EmailSettings:
    values = {"accounts": (account(HUB, port),), "poll_s": 1.0, "command_timeout_s": 1.0} | more
    return EmailSettings.model_validate(values)


@pytest.mark.parametrize(
    "fault",
    [
        "no greeting",
        "bye as greeting",
        "silent after login",
        "bye on idle",
        "silent on idle",
        "bye in idle",
        "close in idle",
        "silent in idle",
        "half a literal",
        "literal in drops",
        "endless literal",
        "nonsense",
    ],
)
async def test_failing_server_is_left_and_found_again(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the server does, the mail is published once, from a new connection."""
    async with ScriptedImap() as server:
        server.faults.append(fault)
        store = MemoryStore()
        # Looked at before, so that every mail counts as new.
        async with Hub(_settings(server.port, max_mail_bytes=100_000, max_age_days=3650), store) as hub:
            server.deliver(_mail(1))
            messages = await hub.bus.received(1)
            server.deliver(_mail(2))
            messages = await hub.bus.received(2)

        assert [message.reply["message_id"] for message in messages] == ["<m1@x>", "<m2@x>"]
        assert hub.bus.calls == 2
        assert hub.quarantined.entries == []


async def test_trouble_of_the_server_puts_no_mail_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can tell whether it is the mail; so it gets some time, and is read when the trouble is over."""
    monkeypatch.setattr("connectors.email.mailbox.FIRST_BACKOFF_S", 0.05)
    async with ScriptedImap() as server:
        server.faults.extend(["half a literal"] * 5)
        server.deliver(_mail(1))
        server.deliver(_mail(2))
        settings = _settings(server.port, command_timeout_s=1, max_age_days=3650)
        async with Hub(settings) as hub:
            messages = await hub.bus.received(2)

    assert [message.reply["message_id"] for message in messages] == ["<m1@x>", "<m2@x>"]
    assert hub.quarantined.entries == []


async def test_mail_that_cannot_be_fetched_is_put_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """After three failures and some time the ones behind it get their turn."""
    monkeypatch.setattr("connectors.email.mailbox.SERVER_TROUBLE_S", 0)
    async with ScriptedImap() as server:
        server.faults.extend(["half a literal"] * 3)
        server.deliver(_mail(1))
        settings = _settings(server.port, command_timeout_s=2, max_age_days=3650)
        async with Hub(settings) as hub:
            ((source, reason, _),) = await hub.quarantined.received(1)
            server.deliver(_mail(2))
            messages = await hub.bus.received(1)

    assert "failed 3 times" in reason
    assert source.endswith(":1:1")
    assert [message.reply["message_id"] for message in messages] == ["<m2@x>"]


async def test_mail_the_server_tells_nothing_of_is_read_all_the_same() -> None:
    """A line about a mail that cannot be understood must not look as if the mail were gone."""
    async with ScriptedImap() as server:
        server.faults.append("no sizes")
        server.deliver(_mail(1))
        server.deliver(_mail(2))
        async with Hub(_settings(server.port, max_age_days=3650)) as hub:
            messages = await hub.bus.received(2)

    assert [message.reply["message_id"] for message in messages] == ["<m1@x>", "<m2@x>"]


async def test_mail_that_comes_in_an_unknown_form_is_put_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there, so it is not taken for one that was deleted meanwhile."""
    monkeypatch.setattr("connectors.email.mailbox.SERVER_TROUBLE_S", 0)
    async with ScriptedImap() as server:
        server.faults.extend(["no literals"] * 3)
        server.deliver(_mail(1))
        async with Hub(_settings(server.port, max_age_days=3650)) as hub:
            ((source, reason, _),) = await hub.quarantined.received(1)

    assert "failed 3 times" in reason
    assert source.endswith(":1:1")


async def test_busy_bus_keeps_the_mail_in_its_mailbox(dovecot: Dovecot) -> None:
    """A mail is marked as done only after the bus has it."""
    dovecot.deliver(JANE, [HUB], _mail(1))
    hub = Hub(_settings(dovecot.port))
    hub.bus.failures.extend([BusError("away"), BusError("away")])

    async with hub:
        messages = await hub.bus.received(1)

    assert hub.bus.calls == 3
    assert len(messages) == 1
    assert hub.quarantined.entries == []


async def test_changed_uid_validity_answers_nothing_twice(dovecot: Dovecot) -> None:
    """UIDs that start anew are read anew; the Message-ID tells what was dealt with."""
    with dovecot.client(HUB) as client:
        client.create("Questions")
        client.append("Questions", "", imaplib.Time2Internaldate(time.time()), _mail(1))
    settings = EmailSettings(
        accounts=(account(HUB, dovecot.port, folder="Questions"),), poll_s=1, command_timeout_s=5
    )
    store = MemoryStore()
    async with Hub(settings, store) as hub:
        await hub.bus.received(1)

    dovecot.recreate(HUB, "Questions")
    with dovecot.client(HUB) as client:
        client.append("Questions", "", imaplib.Time2Internaldate(time.time()), _mail(2))
    async with Hub(settings, store) as again:
        messages = await again.bus.received(1)

    assert [message.reply["message_id"] for message in messages] == ["<m2@x>"]
    assert again.bus.calls == 1


async def test_uid_validity_that_changes_under_way_answers_nothing_twice() -> None:
    """The connection breaks, all UIDs have started again at 1, and only the new mail is published."""
    async with ScriptedImap() as server:
        server.deliver(_mail(1))
        server.deliver(_mail(2))
        async with Hub(_settings(server.port, max_age_days=3650)) as hub:
            await hub.bus.received(2)
            del server.mails[1]
            server.renumber()
            server.deliver(_mail(3))
            messages = await hub.bus.received(3)

    assert [message.reply["message_id"] for message in messages] == ["<m1@x>", "<m2@x>", "<m3@x>"]
    assert hub.bus.calls == 3


WITHOUT_MOVE = "IMAP4rev1 IDLE UIDPLUS LITERAL+"
WITHOUT_BOTH = "IMAP4rev1 IDLE LITERAL+"
NEWSLETTER = _mail(2).replace(b"Subject:", b"List-Id: <news.example.org>\r\nSubject:")


@pytest.mark.parametrize("capabilities", ["", WITHOUT_MOVE], ids=["MOVE", "COPY and UID EXPUNGE"])
async def test_answered_mail_is_moved_where_that_is_wanted(capabilities: str) -> None:
    """The folder is made; unread stays unread, other mail stays, also what the owner has marked as deleted."""
    with dovecot_server.running(HUB, capabilities=capabilities) as dovecot:
        dovecot.deliver(JANE, [HUB], NEWSLETTER)
        dovecot.deliver(JANE, [HUB], _mail(1))
        with dovecot.client(HUB) as client:
            client.store("1", "+FLAGS", "\\Deleted")
        mailbox = account(HUB, dovecot.port, done="move", done_folder="Answered by the hub")
        settings = EmailSettings(accounts=(mailbox,), poll_s=1, command_timeout_s=5)
        async with Hub(settings) as hub:
            await hub.bus.received(1)
            dovecot.deliver(JANE, [HUB], _mail(3))
            await hub.bus.received(2)
            async with asyncio.timeout(30):
                while len(await asyncio.to_thread(dovecot.mails, HUB)) > 1:
                    await asyncio.sleep(0.05)

        moved = dovecot.mails(HUB, "Answered by the hub")
        (left,) = dovecot.flags(HUB)
        assert [b"<m1@x>" in raw or b"<m3@x>" in raw for raw in moved] == [True, True]
        assert not any("\\Seen" in flags for flags in dovecot.flags(HUB, "Answered by the hub"))
        assert "$HubDone" in left
        assert "\\Deleted" in left
        assert "\\Seen" not in left


async def test_server_that_cannot_move_safely_keeps_the_mail() -> None:
    """Without MOVE and UIDPLUS other mail could be lost: the keyword is set instead."""
    with dovecot_server.running(HUB, capabilities=WITHOUT_BOTH) as dovecot:
        dovecot.deliver(JANE, [HUB], _mail(1))
        settings = EmailSettings(
            accounts=(account(HUB, dovecot.port, done="move"),), poll_s=1, command_timeout_s=5
        )
        async with Hub(settings) as hub:
            await hub.bus.received(1)
            async with asyncio.timeout(30):
                while "$HubDone" not in (await asyncio.to_thread(dovecot.flags, HUB))[0]:
                    await asyncio.sleep(0.05)

        assert len(dovecot.mails(HUB)) == 1


@pytest.mark.parametrize("left", ["to_mark", "to_move"])
async def test_mail_a_dead_process_has_not_put_away_is_put_away_later(dovecot: Dovecot, left: str) -> None:
    """Between publishing a mail and marking it there is a moment; the next process goes on there."""
    dovecot.deliver(JANE, [HUB], _mail(1))
    with dovecot.client(HUB) as client:
        _, (status,) = client.status("INBOX", "(UIDVALIDITY)")
    validity = int(re.findall(rb"\d+", bytes(status or b""))[0])
    store = MemoryStore()
    key = f"email:watermark:{digest(f'{HUB}/INBOX')}"
    watermark = Watermark.model_validate({"uid_validity": validity, "last_uid": 1, left: (1,)})
    await store.set(key, watermark.model_dump_json())

    async with Hub(_settings(dovecot.port, command_timeout_s=5.0), store) as hub:
        async with asyncio.timeout(30):
            while f'"{left}":[]' not in store.values[key]:
                await asyncio.sleep(0.05)

    assert hub.bus.messages == []
    if left == "to_mark":
        assert "$HubDone" in dovecot.flags(HUB)[0]
    else:
        assert len(dovecot.mails(HUB, "Hubbub")) == 1


async def test_mails_behind_one_that_fails_are_published_in_their_order(dovecot: Dovecot) -> None:
    """What the bus refuses is offered again, with all that follows it in its thread, and nothing comes twice."""
    for number in range(1, 7):
        raw = _mail(number, f"Question {number}?", sender=f"p{number % 2}@example.net")
        if number > 2:
            raw = raw.replace(b"Subject:", b"References: <m%d@x>\r\nSubject:" % (number - 2))
        dovecot.deliver(JANE, [HUB], raw)
    hub = Hub(_settings(dovecot.port, command_timeout_s=5.0))
    hub.bus.failures.extend([BusFull(0.1), BusError("away")])

    async with hub:
        messages = await hub.bus.received(6)

    for sender in (0, 1):
        texts = [one.text for one in messages if one.reply["participant"] == f"p{sender}@example.net"]
        assert texts == sorted(texts)
    assert len({message.conversation for message in messages}) == 2
    assert len(messages) == 6


async def test_old_mail_is_left_alone_at_the_first_look(dovecot: Dovecot) -> None:
    """A mailbox full of the past is not answered."""
    old = utc_now() - timedelta(days=30)
    with dovecot.client(HUB) as client:
        for number in range(3):
            client.append("INBOX", "", imaplib.Time2Internaldate(old), _mail(number, sent_at=old))
        # Moved here lately, written long ago.
        client.append("INBOX", "", imaplib.Time2Internaldate(time.time()), _mail(8, sent_at=old))
        client.append("INBOX", "", imaplib.Time2Internaldate(time.time()), _mail(9))

    async with Hub(_settings(dovecot.port, command_timeout_s=5.0)) as hub:
        messages = await hub.bus.received(1)

    assert [message.reply["message_id"] for message in messages] == ["<m9@x>"]
    assert "$HubDone" not in dovecot.flags(HUB)[0]


async def test_large_mail_is_never_fetched(dovecot: Dovecot) -> None:
    """The size decides before the text is asked for."""
    dovecot.deliver(JANE, [HUB], _mail(1, "x" * 200_000))
    dovecot.deliver(JANE, [HUB], _mail(2))

    async with Hub(_settings(dovecot.port, max_mail_bytes=50_000, command_timeout_s=5.0)) as hub:
        messages = await hub.bus.received(1)

    assert [message.reply["message_id"] for message in messages] == ["<m2@x>"]
    ((_, reason, body),) = hub.quarantined.entries
    assert (reason, body) == ("larger than 50000 bytes", b"")


async def test_mime_bomb_is_put_aside(dovecot: Dovecot) -> None:
    """A mail of 100,000 parts stops nobody, and its sender hears nothing."""
    head = f"From: {JANE}\r\nTo: {HUB}\r\nMessage-ID: <bomb@x>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    dovecot.deliver(JANE, [HUB], head.encode() + b"--b\r\n\r\nx\r\n" * 100_000)
    dovecot.deliver(JANE, [HUB], _mail(2))

    async with Hub(_settings(dovecot.port, command_timeout_s=5.0)) as hub:
        messages = await hub.bus.received(1)

    assert [message.reply["message_id"] for message in messages] == ["<m2@x>"]
    assert [reason for _, reason, _ in hub.quarantined.entries] == ["the mail has too many parts"]


async def test_second_mail_of_one_message_id_is_put_aside(dovecot: Dovecot) -> None:
    """The first wins; the same mail twice is nothing special."""
    for raw in (_mail(1), _mail(1), _mail(1, "Something else?"), _mail(2)):
        dovecot.deliver(JANE, [HUB], raw)

    async with Hub(_settings(dovecot.port, command_timeout_s=5.0)) as hub:
        messages = await hub.bus.received(2)

    assert [message.text for message in messages] == ["How?", "How?"]
    assert [reason for _, reason, _ in hub.quarantined.entries] == ["two mails with the same Message-ID"]


async def test_one_sender_is_answered_five_times_in_ten_minutes(dovecot: Dovecot) -> None:
    """The limit holds for the address with and without a tag; others are not touched by it."""
    for number in range(8):
        dovecot.deliver(JANE, [HUB], _mail(number, sender=JANE if number % 2 else "jane+x@example.net"))
    dovecot.deliver(JANE, [HUB], _mail(99, sender="bob@example.net"))

    async with Hub(_settings(dovecot.port, command_timeout_s=5.0)) as hub:
        messages = await hub.bus.received(6)

    assert [message.reply["message_id"] for message in messages] == [
        *(f"<m{n}@x>" for n in range(5)),
        "<m99@x>",
    ]


async def test_mailbox_that_is_down_does_not_stop_the_other(dovecot: Dovecot) -> None:
    """Every account has a loop of its own."""
    accounts = (account("down@example.org", 1), account(HUB, dovecot.port))
    dovecot.deliver(JANE, [HUB], _mail(1))

    async with Hub(EmailSettings(accounts=accounts, poll_s=1, command_timeout_s=5)) as hub:
        messages = await hub.bus.received(1)

    assert messages[0].address.account == HUB
    assert datetime.now(UTC) - messages[0].received_at < timedelta(minutes=1)
