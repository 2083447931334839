"""Processes that end the hard way once, at a moment that a test chooses; whoever comes next finds the mark and lives."""

import asyncio
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aiohttp import ClientSession, UnixConnector, web

from connectors.base import Accepted, Progress
from hub.bus.bus import Bus
from hub.messages import InboundMessage, OutboundMessage
from tests.connectors.http.program import make_connector
from tests.faults.processes import PeerConnector, Plan, run_process, send_replies

Moment = Literal["taken up", "noted", "answered", "published"]
"""Of a reply: before it is noted that a request leaves, before the request leaves, and before its answer is noted. Of a
message: before its far side hears that it is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MortalPlan(Plan):
    """When a process ends, and where it leaves its mark."""

    moment: Moment
    mark: Path
    port: int = 0
    """Where messages are taken in."""

    def reach(self, moment: Moment) -> None:
        """End this process if the moment is the one, and nobody has died of it so far."""
        if moment != self.moment:
            return
        try:
            self.mark.touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


class MortalProgress:
    """Notes how far a reply has come, as far as its process lives."""

    def __init__(self, progress: Progress, plan: MortalPlan) -> None:
        self._progress, self._plan = progress, plan

    @property
    def placed_parts(self) -> Mapping[int, str]:
        """Return what the peer has confirmed."""
        return self._progress.placed_parts

    @property
    def replaced_parts(self) -> Mapping[int, str]:
        """Return the parts of an earlier reply."""
        return self._progress.replaced_parts

    @property
    def unclear_part(self) -> int | None:
        """Return the part that a dead sender left open."""
        return self._progress.unclear_part

    async def begin(self, part: int) -> None:
        """Note that a request leaves."""
        self._plan.reach("taken up")
        await self._progress.begin(part)
        self._plan.reach("noted")

    async def placed(self, part: int, remote_id: str) -> None:
        """Note what the peer said."""
        self._plan.reach("answered")
        await self._progress.placed(part, remote_id)


class MortalConnector(PeerConnector):
    """The channel of a process that ends while it sends."""

    def __init__(self, session: ClientSession, plan: MortalPlan) -> None:
        super().__init__(session)
        self._plan = plan

    async def send(self, message: OutboundMessage, progress: Progress) -> None:
        """Send the parts that the peer has not confirmed."""
        await super().send(message, MortalProgress(progress, self._plan))


def run_mortal_sender(plan: MortalPlan, log: Path) -> None:
    """Be a sender that ends at its moment."""

    async def send(bus: Bus, stop: asyncio.Event) -> None:
        async with ClientSession(connector=UnixConnector(plan.peer)) as session:
            await send_replies(plan, bus, MortalConnector(session, plan), stop)

    run_process(plan, log, send)


def run_mortal_edge(plan: MortalPlan, log: Path) -> None:
    """Be a process that takes messages in by the http channel, and ends at its moment."""

    async def serve(bus: Bus, stop: asyncio.Event) -> None:
        async def publish(message: InboundMessage) -> Accepted:
            published = await bus.publish(message)
            plan.reach("published")
            return Accepted(published.entry, published.status == "DUPLICATE")

        connector = make_connector("http://127.0.0.1:1/")
        taking = asyncio.create_task(connector.run(publish))
        app = web.Application()
        app.add_routes(connector.routes())
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", plan.port).start()
        await stop.wait()
        taking.cancel()
        await asyncio.wait({taking})
        await runner.cleanup()

    run_process(plan, log, serve)
