"""How commands open the database and Redis, and how what they change comes into the audit log."""

import asyncio
import getpass
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.audit import Attempt, AuditLog, Result
from hub.database import async_engine, database_url, upgrade
from hub.errors import HubError
from hub.settings import Settings

if TYPE_CHECKING:
    from hub.bus.bus import Bus


@asynccontextmanager
async def opened_database(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """Open the database with its tables up to date.

    Raises: DatabaseError: it cannot be opened.
    """
    settings.data.mkdir(parents=True, exist_ok=True)
    await asyncio.to_thread(upgrade, database_url(settings))
    async with _opened(settings) as engine:
        yield engine


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = async_engine(database_url(settings))
    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def opened_bus(settings: Settings) -> "AsyncIterator[Bus]":
    """Open the Redis of the settings.

    Raises: SettingsError: no hub runs on these settings. BusError: Redis is away.
    """
    # Imported here: most commands need the database alone, and nothing of what the hub is put together from.
    from hub.app import redis_url  # noqa: PLC0415
    from hub.bus.bus import Bus  # noqa: PLC0415

    bus = Bus(redis_url(settings), settings.bus)
    try:
        await bus.ping()
        yield bus
    finally:
        await bus.close()


class Noted:
    """What a command has done so far."""

    def __init__(self) -> None:
        self.result = Result(outcome="unchanged")

    def done(self, change: str, target: str = "", **numbers: int) -> None:
        """Note it; also where the command fails afterwards."""
        self.result = Result(outcome="done", change=change, target=target, numbers=numbers)


@contextmanager
def audited(settings: Settings, command: str) -> Iterator[Noted]:
    """Write an entry of the audit log for a command that changes something, before it does and when it has.

    Args:
        command: its name, such as `keys create`.

    Raises: DatabaseError: no entry could be written; nothing was begun then.
    """
    user, name = _user()
    attempt = Attempt(actor_kind="command", actor=user, actor_name=name, action=f"hubbub {command}")
    entry = asyncio.run(_begin(settings, attempt))
    noted = Noted()
    try:
        yield noted
    except BaseException as error:
        if noted.result.outcome != "done":
            refused = isinstance(error, HubError | typer.Abort | typer.BadParameter)
            code = type(error).__name__
            noted.result = Result(outcome="refused" if refused else "failed", code=code)
        raise
    finally:
        asyncio.run(_end(settings, entry, noted.result))


async def _begin(settings: Settings, attempt: Attempt) -> int:
    async with opened_database(settings) as engine:
        return await AuditLog(engine).begin(attempt)


async def _end(settings: Settings, entry: int, result: Result) -> None:
    # Its tables were looked at when the entry was begun.
    async with _opened(settings) as engine:
        await AuditLog(engine).end(entry, result)


def _user() -> tuple[str, str]:
    # The system's own word: variables such as LOGNAME say what anybody likes.
    try:
        import pwd  # noqa: PLC0415 - not everywhere
    except ImportError:
        return getpass.getuser(), getpass.getuser()
    number = os.getuid()
    try:
        return str(number), pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number), ""
