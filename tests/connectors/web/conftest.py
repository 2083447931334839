"""A hub of one process with its edges in memory."""

from collections.abc import AsyncIterator

import pytest

from tests.connectors.web.edges import Bus, HubProcess


@pytest.fixture
def bus() -> Bus:
    """Return the bus the hub shares."""
    return Bus()


@pytest.fixture
async def hub(bus: Bus) -> AsyncIterator[HubProcess]:
    """Run one process of the hub."""
    process = HubProcess(bus)
    await process.start()
    yield process
    await process.stop()


@pytest.fixture
async def full_hub(bus: Bus) -> AsyncIterator[HubProcess]:
    """Run one process that takes feedback and files, and mails answers."""
    process = HubProcess(bus, extras=True)
    await process.start()
    yield process
    await process.stop()
