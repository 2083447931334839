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
