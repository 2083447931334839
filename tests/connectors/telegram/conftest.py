"""The emulated Bot API for every Telegram test."""

from collections.abc import AsyncIterator

import pytest

from tests.emulators.bot_api import BotApi


@pytest.fixture
async def telegram() -> AsyncIterator[BotApi]:
    """Run a Bot API of its own."""
    async with BotApi() as api:
        yield api
