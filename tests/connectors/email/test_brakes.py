"""A mail is counted once, whichever processes look at it at the same moment."""

import asyncio
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis

from connectors.email import brakes
from connectors.email.brakes import Brakes
from connectors.email.mail import ParsedMail
from connectors.email.state import digest
from connectors.email.threads import Thread
from hub.bus.state import State
from hub.email_settings import EmailSettings

HUB, JANE = "hub@example.org", "jane@example.net"
AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
MOST, PROCESSES = 3, 8


async def _verdict(redis: Redis, number: int) -> str:
    """Look at a mail as one of the processes that watch the mailbox."""
    settings = EmailSettings(replies_per_sender_10min=MOST)
    mail = ParsedMail(sender=JANE, text=f"Mail {number}")
    thread = Thread(account=HUB, root=f"<m{number}@example.net>", participant=JANE)
    return await Brakes(settings, State(redis, "email")).verdict(f"mail {number}", mail, thread, AT)


async def test_processes_that_look_at_once_count_a_mail_once(redis: Redis) -> None:
    """So many mails are answered as may be, and the next one is not, by none of them."""
    verdicts = [
        set(await asyncio.gather(*(_verdict(redis, number) for _ in range(PROCESSES))))
        for number in range(MOST + 1)
    ]

    assert verdicts == [{""}] * MOST + [{"sender_10min_limit"}]


async def test_a_process_that_died_while_it_counted_holds_nobody_up(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one waits for its verdict, and no longer than it might take."""
    monkeypatch.setattr(brakes, "COUNTING_S", 0.2)
    assert await State(redis, "email").claim(f"email:counting:{digest('mail 0')}", 60)

    assert await _verdict(redis, 0) == ""
