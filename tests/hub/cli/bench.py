"""A hub without a fault, in which one is planted for the doctor to find."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hub.bus.connection import connect
from hub.bus.heartbeat import beat
from hub.database import upgrade
from tests.emulators.bot_api import BotApi
from tests.servers.redis import RedisServer
from tests.servers.smtp import account_at

HUB = "hub@example.org"
SECRET = "correct-horse-battery"
"""Stands in the settings of every case, and in no finding."""


@dataclass
class Bench:
    """A hub without a fault, in which one is planted."""

    data: Path
    patch: pytest.MonkeyPatch
    request: pytest.FixtureRequest
    settings: dict[str, Any] = field(default_factory=dict)
    closing: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    def server(self, name: str) -> Any:
        """Give a server of this module."""
        return self.request.getfixturevalue(name)

    async def redis(self) -> Any:
        """Let the hub use an external Redis."""
        server: RedisServer = self.server("own_redis")
        client: Any = connect(server.url)
        await client.flushall()
        self.settings["bus"] = {"redis_url": server.url}

        async def restore() -> None:
            for name, value in {
                "maxmemory-policy": "noeviction",
                "appendonly": "yes",
                "appendfsync": "always",
            }.items():
                await client.config_set(name, value)
            await client.config_set("maxmemory", 0)
            await client.config_set("requirepass", "")
            await client.aclose()

        self.closing.append(restore)
        return client

    def database(self) -> Path:
        """Make an SQLite database with all tables."""
        upgrade(f"sqlite:///{self.data / 'hubbub.db'}")
        return self.data / "hubbub.db"

    async def alive(self, role: str) -> None:
        """Let a process of a role live."""
        client, stop = await self.redis(), asyncio.Event()
        beating = asyncio.create_task(beat(client, role, stop))
        await asyncio.sleep(0.05)

        async def end() -> None:
            stop.set()
            await beating

        self.closing.insert(0, end)

    def mailbox(self, **changes: Any) -> None:
        """Connect a mailbox."""
        dovecot, smtp = self.server("dovecot"), self.server("smtp")
        account = account_at(HUB, dovecot, smtp)
        self.settings["email"] = {"accounts": [account | changes], "command_timeout_s": 5}

    async def bot(self, **api: Any) -> BotApi:
        """Connect a bot."""
        telegram = BotApi()
        await telegram.__aenter__()

        async def end() -> None:
            await telegram.__aexit__(None, None, None)

        self.closing.append(end)
        self.settings["telegram"] = {"token": telegram.token, "api_base": telegram.url}
        self.settings["api"] = api
        return telegram

    def model(self, table: dict[str, Any], **engine: Any) -> None:
        """Let another model answer."""
        self.settings["models"] = {"big": table}
        self.settings["engine"] = {"model": "big", **engine}


Plant = Callable[[Bench], Any]
CASES: dict[str, tuple[str, Plant, str, str, str, str]] = {}
"""By name: the look that finds it, what plants it, its state, its part, words of the fault, words of the cure."""


def case(check: str, state: str, part: str, words: str, cure: str) -> Callable[[Plant], Plant]:
    """Enter a misconfiguration into the table."""

    def enter(plant: Plant) -> Plant:
        CASES[plant.__name__] = (check, plant, state, part, words, cure)
        return plant

    return enter
