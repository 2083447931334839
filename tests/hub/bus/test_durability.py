"""An external Redis that would lose messages is refused before the first one."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from hub.bus.connection import connect
from hub.bus.durability import durability_faults, require_durable
from hub.errors import BusError, SettingsError
from hub.settings import BusSettings
from tests.servers.redis import RedisServer

SETTINGS = BusSettings()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Redis]:
    """A server of its own, whose settings may be spoilt."""
    with RedisServer(tmp_path) as server:
        client = connect(server.url)
        yield client
        await client.aclose()


async def test_a_durable_server_has_no_faults(client: Redis) -> None:
    """As the embedded one is set."""
    assert await durability_faults(client, SETTINGS) == []
    await require_durable(client, SETTINGS)


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("maxmemory-policy", "volatile-lru", "it drops messages"),
        ("maxmemory-policy", "allkeys-lfu", "it drops messages"),
        ("appendonly", "no", "it forgets messages"),
        ("appendfsync", "everysec", "a power cut loses"),
        ("appendfsync", "no", "a power cut loses"),
    ],
)
async def test_each_way_to_lose_messages_is_refused(client: Redis, name: str, value: str, fault: str) -> None:
    """The text says what is set and what it should be."""
    await client.config_set(name, value)

    with pytest.raises(SettingsError, match=f"{name} is {value}.*{fault}"):
        await require_durable(client, SETTINGS)
    await require_durable(client, BusSettings(allow_unsafe_redis=True))


async def test_a_second_of_loss_may_be_allowed(client: Redis) -> None:
    """`everysec` is the operator's choice, `no` is nobody's."""
    relaxed = BusSettings(appendfsync="everysec")

    await client.config_set("appendfsync", "everysec")
    assert await durability_faults(client, relaxed) == []
    await client.config_set("appendfsync", "no")
    assert len(await durability_faults(client, relaxed)) == 1


async def test_a_server_that_hides_its_settings_is_judged_by_what_it_tells(client: Redis) -> None:
    """Hosted servers forbid CONFIG."""
    untyped: Any = client
    await client.config_set("appendonly", "no")
    await untyped.execute_command("ACL", "SETUSER", "default", "-config")

    faults = await durability_faults(client, SETTINGS)

    assert [fault.partition(":")[0] for fault in faults] == ["appendonly is no"]


async def test_a_server_that_is_away_is_no_verdict() -> None:
    """It is a bus error: trying again may help."""
    with pytest.raises(BusError):
        await durability_faults(connect("redis://127.0.0.1:1"), SETTINGS)
