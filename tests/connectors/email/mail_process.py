"""A mail connector in a process of its own, to be killed: `python -m tests.connectors.email.mail_process ...`."""

import asyncio
import sys

from connectors.email.connector import EmailConnector
from connectors.runner import Sender, run_connector
from hub.bus.bus import Bus
from hub.bus.consumer import ConsumerOptions
from hub.bus.state import State
from hub.email_settings import EmailSettings
from hub.settings import BusSettings
from tests.connectors.email.edges import account

COMMAND = (sys.executable, "-m", "tests.connectors.email.mail_process")


async def run(url: str, address: str, imap_port: int, smtp_port: int, batch: int) -> None:
    """Run both directions until killed."""
    bus = Bus(url, BusSettings())
    settings = EmailSettings(
        accounts=(account(address, imap_port, smtp_port),), batch=batch, poll_s=1, command_timeout_s=10
    )
    connector = EmailConnector(settings, State(bus.redis, "email"), bus.dead_letters.quarantine)
    sender = Sender(bus, connector, give_up_s=60)
    await run_connector(connector, bus, sender, asyncio.Event(), options=ConsumerOptions())


if __name__ == "__main__":
    url, address, *numbers = sys.argv[1:]
    asyncio.run(run(url, address, *map(int, numbers)))
