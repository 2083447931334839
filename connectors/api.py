"""The api channel: requests come in by hub/api, replies go to whichever process waits for them."""

import asyncio

from connectors.base import Progress, Publish
from hub.live import Live
from hub.messages import OutboundMessage


class ApiConnector:
    """Announces replies; a client that no longer waits finds its reply in the session's history."""

    name = "api"

    def __init__(self, live: Live) -> None:
        self._live = live

    async def run(self, publish: Publish) -> None:
        """Wait to be cancelled: the HTTP server publishes by itself."""
        await asyncio.Event().wait()

    async def send(self, message: OutboundMessage, progress: Progress) -> None:
        """Announce the reply to every process."""
        if 0 in progress.placed_parts:
            return
        await progress.begin(0)
        await self._live.announce(message)
        await progress.placed(0, message.reply_id)
