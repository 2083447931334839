"""The file for probes: it is young while a process works, whatever becomes of Redis, and gone otherwise."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from hub.app import alive, run_roles
from hub.errors import BusError, SettingsError
from hub.settings import BusSettings, Settings
from tests.servers.redis import RedisServer, free_port

WAIT_S = 60


def settings_for(redis_url: str, data: Path, file: Path) -> Settings:
    """Settings of a process with this file."""
    bus = BusSettings(redis_url=SecretStr(redis_url))
    none: Any = None
    return Settings(_env_file=none, data=data, drain_timeout_s=2, alive_file=str(file), bus=bus)


def is_young(file: Path) -> bool:
    """Tell whether the file was touched since its time was set to the beginning of all times."""
    return file.exists() and bool(file.stat().st_mtime)


async def until_young(file: Path) -> None:
    """Wait for the file to be touched, or touched again."""
    async with asyncio.timeout(WAIT_S):
        while not is_young(file):
            await asyncio.sleep(0.02)


async def test_the_file_stays_young_while_redis_is_away(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe does not end a process for what another one lacks; after the end there is no file."""
    monkeypatch.setattr(alive, "TOUCH_S", 0.05)
    file, stop = tmp_path / "alive", asyncio.Event()
    (tmp_path / "redis").mkdir()
    with RedisServer(tmp_path / "redis") as server:
        running = asyncio.create_task(run_roles(settings_for(server.url, data, file), ["telegram"], stop))
        await until_young(file)
        server.kill()
        os.utime(file, (0, 0))

        await until_young(file)

        stop.set()
        async with asyncio.timeout(WAIT_S):
            await running
    assert not file.exists()


async def test_a_process_that_begins_removes_what_an_earlier_one_left(tmp_path: Path, data: Path) -> None:
    """A container that starts again finds the files of its Pod: it is not up before it is."""
    file = tmp_path / "alive"
    file.touch()

    with pytest.raises(BusError):
        await run_roles(
            settings_for(f"redis://127.0.0.1:{free_port()}/0", data, file), ["telegram"], asyncio.Event()
        )

    assert not file.exists()


async def test_a_file_that_cannot_be_written_is_told(
    tmp_path: Path, data: Path, redis_server: RedisServer
) -> None:
    """Instead of a process that every probe ends."""
    file = tmp_path / "missing" / "alive"

    with pytest.raises(SettingsError, match=r"alive_file: .*/missing/alive cannot be used: No such file"):
        await run_roles(settings_for(redis_server.url, data, file), ["telegram"], asyncio.Event())
