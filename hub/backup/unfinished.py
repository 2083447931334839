"""The marks of a restore that has not finished: no hub starts where one stands."""

from pathlib import Path

from redis.asyncio import Redis

from hub.backup.files import UNFINISHED
from hub.backup.sealed import sync
from hub.bus.heartbeat import is_alive
from hub.bus.state import State
from hub.errors import HubError, SettingsError

_NAME = "unfinished"
_TEXT = "A restore has not finished; run `hubbub restore` with the same backup again.\n"


def mark_folder(data: Path) -> None:
    """Set the mark of a data folder.

    Raises: OSError: it cannot be written.
    """
    (data / UNFINISHED).write_text(_TEXT, "utf-8")
    sync(data)


def is_folder_marked(data: Path) -> bool:
    """Tell whether the mark stands in a data folder."""
    return (data / UNFINISHED).exists()


async def mark_redis(redis: Redis) -> None:
    """Set the mark of a Redis.

    Raises: BusError: it is away.
    """
    await State(redis, "restore").set(_NAME, "1")


async def unmark_redis(redis: Redis) -> None:
    """Take the mark away.

    Raises: BusError: Redis is away.
    """
    await State(redis, "restore").delete(_NAME)


async def is_redis_marked(redis: Redis) -> bool:
    """Tell whether the mark stands in a Redis.

    Raises: BusError: it is away.
    """
    return await State(redis, "restore").get(_NAME) is not None


def refuse_half_restored_folder(data: Path) -> None:
    """Keep a hub from starting on what a killed restore has left in a data folder.

    Raises: SettingsError: the restore has to be repeated.
    """
    if is_folder_marked(data):
        raise SettingsError("a restore has not finished; run `hubbub restore` with the same backup again")


async def refuse_half_restored(data: Path, redis: Redis) -> None:
    """Keep a hub from starting on what a killed restore has left anywhere.

    Raises: SettingsError: the restore has to be repeated. BusError: Redis is away.
    """
    refuse_half_restored_folder(data)
    if await is_redis_marked(redis):
        raise SettingsError(
            "a restore into this Redis has not finished; run `hubbub restore` with the same backup again"
        )


async def refuse_living(redis: Redis) -> None:
    """Keep a restore from a Redis that somebody works on.

    Raises: HubError: a process of a hub is alive. BusError: Redis is away.
    """
    for role in ("hub", "engine"):
        if await is_alive(redis, role):
            raise HubError(f"a process of the hub ({role}) is running on this Redis; stop it first")
