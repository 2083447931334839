"""The embedded Redis: private, durable, watched, and refused where it is too old."""

import asyncio
import os
import signal
import stat
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from hub.bus.connection import connect
from hub.bus.durability import durability_faults
from hub.bus.embedded import EmbeddedRedis, embedded_url, find_server, socket_path
from hub.errors import BusError, SettingsError
from hub.settings import BusSettings
from tests.servers.redis import redis_executables

SETTINGS = BusSettings()


@pytest.mark.parametrize("program", redis_executables())
async def test_it_serves_its_owner_alone(data: Path, program: str) -> None:
    """No port, a socket only its owner opens, and nothing that could lose a message."""
    settings = BusSettings(redis_server=program)
    server = EmbeddedRedis(settings, data)
    await server.start()
    client = connect(embedded_url(data))
    untyped: Any = client

    assert stat.S_IMODE(socket_path(data).stat().st_mode) == 0o700
    assert stat.S_IMODE(socket_path(data).parent.stat().st_mode) == 0o700
    assert (await untyped.config_get("port"))["port"] == "0"
    assert await durability_faults(client, settings) == []

    await client.aclose()
    await server.stop()


async def test_what_it_accepted_is_there_after_it_was_killed(data: Path) -> None:
    """The watch starts it again, and it has its data."""
    server, done = EmbeddedRedis(SETTINGS, data), asyncio.Event()
    await server.start()
    watching = asyncio.create_task(server.watch(done))
    client = connect(embedded_url(data))
    await client.set("key", "value")
    before = await pid(client)

    os.kill(before, signal.SIGKILL)
    async with asyncio.timeout(20):
        while await answering_pid(data) in (None, before):
            await asyncio.sleep(0.02)

    again = connect(embedded_url(data))
    assert await again.get("key") == b"value"
    await again.aclose()
    await client.aclose()
    done.set()
    await watching
    await server.stop()


async def test_what_it_accepted_is_there_after_it_was_stopped(data: Path) -> None:
    """A new server of the same folder goes on with its data."""
    for expected in (None, b"value"):
        server = EmbeddedRedis(SETTINGS, data)
        await server.start()
        client = connect(embedded_url(data))
        assert await client.get("key") == expected
        await client.set("key", "value")
        await client.aclose()
        await server.stop()

    assert await answering_pid(data) is None


async def test_a_folder_with_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    """Unix sockets hold about a hundred bytes; two folders never share one."""
    one, two = (tmp_path / ("long" * 30) / name for name in ("one", "two"))
    one.mkdir(parents=True)
    server = EmbeddedRedis(SETTINGS, one)
    await server.start()
    client = connect(embedded_url(one))

    assert len(os.fsencode(socket_path(one))) <= 100
    assert socket_path(one) != socket_path(two)
    assert stat.S_IMODE(socket_path(one).parent.stat().st_mode) == 0o700
    assert await client.set("key", "value")

    await client.aclose()
    await server.stop()


def test_a_server_that_is_too_old_is_refused(tmp_path: Path) -> None:
    """The text says what was found and what to do."""
    old = program(tmp_path / "redis-server", "echo 'Redis server v=6.0.16 sha=0 malloc=jemalloc bits=64'")

    with pytest.raises(SettingsError, match=r"6\.2 or newer.*6\.0\.16"):
        find_server(BusSettings(redis_server=str(old)))


def test_a_program_that_is_none_is_refused(tmp_path: Path) -> None:
    """Whether it is missing or does not run."""
    broken = program(tmp_path / "redis-server", "exit 1")

    for path in (broken, tmp_path / "missing"):
        with pytest.raises(SettingsError, match="does not run"):
            find_server(BusSettings(redis_server=str(path)))


async def test_a_server_that_ends_at_once_is_an_error_that_names_its_log(tmp_path: Path, data: Path) -> None:
    """Such as one whose data folder is damaged."""
    ends = program(
        tmp_path / "redis-server", '[ "$1" = --version ] && echo "Redis server v=7.0.15 x" && exit 0; exit 1'
    )

    with pytest.raises(BusError, match=r"redis\.log"):
        await EmbeddedRedis(BusSettings(redis_server=str(ends)), data).start()


def program(path: Path, script: str) -> Path:
    """Write a shell script that looks like a server."""
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)
    return path


async def pid(client: Redis) -> int:
    """Return the server's process id."""
    info: Any = await client.info("server")
    return int(info["process_id"])


async def answering_pid(data: Path) -> int | None:
    """Return the process id of the server that answers, if one does."""
    client = connect(embedded_url(data))
    try:
        return await pid(client)
    except Exception:
        return None
    finally:
        await client.aclose()


async def test_what_a_killed_server_left_half_written_goes(data: Path) -> None:
    """Nobody reads it any more, and it may hold what was erased since; the data stays."""
    server = EmbeddedRedis(SETTINGS, data)
    await server.start()
    client = connect(embedded_url(data))
    await client.set("key", "value")
    await client.aclose()
    await server.stop()
    left = data / "redis" / "temp-rewriteaof-bg-1.aof"
    left.write_bytes(b"canary")

    await server.start()

    client = connect(embedded_url(data))
    assert not left.exists()
    assert await client.get("key") == b"value"
    await client.aclose()
    await server.stop()
