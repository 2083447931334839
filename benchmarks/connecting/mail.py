"""A mailbox with many waiting mails: how long until all are stored, from the start of the process."""

import asyncio
import json
import time
from email.message import EmailMessage
from pathlib import Path

from benchmarks.connecting.plain import MAILS
from benchmarks.connecting.processes import MAX_BACKLOG, Sides, opened
from hub.bus.keys import Keys
from tests.servers import dovecot as dovecot_server
from tests.servers.accounts import PASSWORD
from tests.servers.dovecot import Dovecot

HUB = "hub@example.org"
LONGEST_S = 600.0


async def measure(folder: Path, count: int) -> dict[str, float]:
    """Let each side store `count` mails of senders who each wrote one; returns seconds."""
    took: dict[str, float] = {}
    for side in ("hubbub", "plain"):
        with dovecot_server.running(HUB) as dovecot:
            await asyncio.to_thread(_fill, dovecot, count)
            async with opened(folder / side) as sides:
                took[side] = await _catch_up(side, sides, dovecot, count)
    return took


async def _catch_up(side: str, sides: Sides, dovecot: Dovecot, count: int) -> float:
    account = {
        "address": HUB,
        "password": PASSWORD,
        "imap_host": dovecot.host,
        "imap_port": dovecot.port,
        "imap_tls": "none",
        "smtp_host": dovecot.host,
    }
    began = time.monotonic()
    if side == "hubbub":
        process = sides.hub(
            "email",
            HUBBUB_EMAIL__ACCOUNTS=json.dumps([account]),
            HUBBUB_BUS__MAX_BACKLOG=str(MAX_BACKLOG),
        )
        stream = Keys().stream("inbound")
    else:
        process = sides.plain("mail", PLAIN_PORT=str(dovecot.port), PLAIN_USER=HUB, PLAIN_PASSWORD=PASSWORD)
        stream = MAILS
    async with process, asyncio.timeout(LONGEST_S):
        while await sides.redis.xlen(stream) < count:
            await asyncio.sleep(0.05)
    return time.monotonic() - began


def _fill(dovecot: Dovecot, count: int) -> None:
    for number in range(count):
        mail = EmailMessage()
        mail["From"], mail["To"] = f"Person {number} <p{number}@example.net>", HUB
        mail["Subject"], mail["Message-ID"] = f"Question {number}", f"<{number}@example.net>"
        mail.set_content(f"Good morning,\n\nwhat is said about number {number}?\n\nBest\nPerson {number}\n")
        dovecot.deliver(f"p{number}@example.net", [HUB], mail.as_bytes())
