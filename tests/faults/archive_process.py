"""A process that writes the archive, for the fault test that kills it."""

import asyncio
import os
import signal
from pathlib import Path

from hub.archive.projector import Projector
from hub.bus.connection import connect_reader
from hub.database import async_engine
from tests.faults.processes import Plan


def database_of(folder: Path) -> str:
    """Return the URL of the archive that all processes of a test share."""
    return f"sqlite:///{folder / 'archive.db'}"


def run_projector(plan: Plan, log: Path) -> None:
    """Be a process that projects the events until it is killed."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)

    async def run() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        bus, engine = plan.bus(), async_engine(database_of(log.parent))
        await Projector(bus.redis, connect_reader(plan.url), bus.history, engine).run(stop)
        await engine.dispose()
        await bus.close()

    asyncio.run(run())
