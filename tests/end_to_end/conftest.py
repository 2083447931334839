"""The channels of a whole hub: mail servers and Telegram's."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.emulators.bot_api import BotApi
from tests.end_to_end.people import HUB, JANE
from tests.servers import dovecot as dovecot_server
from tests.servers import smtp as smtp_server
from tests.servers.dovecot import Dovecot
from tests.servers.smtp import SmtpServer


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    """A mail server with a mailbox for the hub and one for a person."""
    with dovecot_server.running(HUB, JANE) as server:
        yield server


@pytest.fixture(scope="module")
def smtp(dovecot: Dovecot) -> Iterator[SmtpServer]:
    """Where mail is handed in."""
    with smtp_server.running(dovecot) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def telegram() -> AsyncIterator[BotApi]:
    """Telegram's servers, emulated."""
    async with BotApi() as server:
        yield server
