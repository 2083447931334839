"""Every kind of fault that a run draws from; each is done, undone where that takes a while, and written down."""

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import RedisError

from hub.bus.connection import connect
from hub.bus.keys import Keys
from hub.events import TurnEvent, parse_event
from tests.faults.chaos.edges import Program, Telegram
from tests.faults.engine import script_sha
from tests.faults.fleet import Fleet
from tests.faults.history import History
from tests.servers.proxy import LossyProxy
from tests.servers.redis import RedisServer

INBOUND = Keys().stream("inbound")
SCRIPTS = ("publish", "enter", "commit", "nack", "renew", "send_load", "send_begin", "send_placed", "lanes")
Fault = Callable[["Faults"], Awaitable[object]]


class Faults:
    """What can be done to the processes of a run, and to those around them."""

    def __init__(
        self,
        *,
        history: History,
        dice: random.Random,
        server: RedisServer,
        proxies: tuple[LossyProxy, LossyProxy],
        fleets: tuple[Fleet, Fleet],
        far_side: tuple[Program, Telegram],
        lasting_s: float,
        spared: int = 0,
    ) -> None:
        """Prepare.

        Args:
            proxies: before Redis, for hubs and for engines.
            fleets: hubs and engines.
            lasting_s: how long faults last that take a while.
            spared: processes of each kind that are never killed or replaced.
        """
        self.history, self.dice, self.server = history, dice, server
        self.proxies, self.fleets = proxies, fleets
        self.hubs, self.engines = fleets
        self.program, self.telegram = far_side
        self.lasting_s = lasting_s
        self._spared = spared
        self._redis_is_down = asyncio.Lock()
        self._rolling = {fleet: asyncio.Lock() for fleet in fleets}

    async def do(self, name: str) -> None:
        """Do one, and write down when it began and ended."""
        began = time.monotonic()
        await FAULTS[name](self)
        self.history.write("fault", kind=name, began=began)

    async def kill(self, fleet: Fleet) -> None:
        """End a process the hard way; another comes in its place."""
        await asyncio.to_thread(fleet.kill, self.dice.randrange(self._spared, len(fleet.processes)))

    async def freeze(self, fleet: Fleet) -> None:
        """Let a process sleep past its leases."""
        lease_s = fleet.plan.lease_s
        await fleet.freeze(self.dice.randrange(len(fleet.processes)), self.dice.uniform(1.5, 3) * lease_s)

    async def roll(self, fleet: Fleet) -> None:
        """Replace every process of a kind, one after the other, in good order; one round at a time."""
        if (rolling := self._rolling[fleet]).locked():
            return
        async with rolling:
            for index in range(self._spared, len(fleet.processes)):
                with contextlib.suppress(TimeoutError):
                    await fleet.terminate(index)

    async def lose_answers(self) -> None:
        """Lose the next answers to some scripts and to some readers."""
        for proxy in self.proxies:
            for script in self.dice.sample(SCRIPTS, 3):
                proxy.lose(script_sha(script))
            proxy.lose(b"XREADGROUP", b"lane")
        await asyncio.sleep(self.dice.uniform(0.2, 1.0))

    async def be_slow(self) -> None:
        """Let every command take half a second longer."""
        for proxy in self.proxies:
            proxy.delay_s = 0.5
        await asyncio.sleep(self.lasting_s)
        for proxy in self.proxies:
            proxy.delay_s = 0.0

    async def pull_cable(self) -> None:
        """Swallow what some processes and Redis say to each other, and close nothing."""
        async with self.dice.choice(self.proxies).silent():
            await asyncio.sleep(self.lasting_s)

    async def crash_redis(self) -> None:
        """Kill Redis and start it on what it wrote; nothing that was accepted may be missing."""
        async with self._redis_is_down:
            crashed = time.monotonic()
            await asyncio.to_thread(self.server.kill)
            await asyncio.sleep(self.dice.uniform(0, 0.5))
            await asyncio.to_thread(self.server.start)
            await survey(self.server.url, self.history, crashed)

    async def freeze_redis(self) -> None:
        """Let Redis stand still: what was asked meanwhile is done when it goes on."""
        async with self._redis_is_down:
            self.server.pause()
            await asyncio.sleep(self.lasting_s)
            self.server.resume()

    async def forget_scripts(self) -> None:
        """Let Redis forget its scripts."""
        await self._command("SCRIPT", "FLUSH")

    async def write_junk(self) -> None:
        """Write into the streams by hand."""
        await self._command("XADD", INBOUND, "*", b"\xff", secrets.token_bytes(8))
        await self._command("XADD", INBOUND, "*", "lane", f"junk{self.dice.random()}", "body", "by hand")
        await self._command("XADD", Keys().stream("outbound:http"), "*", "lane", b"\xff\xfe", "body", "{}")

    async def remove_consumer(self) -> None:
        """Remove a consumer that lives, with what it was given."""
        consumers: Any = await self._command("XINFO", "CONSUMERS", INBOUND, "engine") or []
        names = [dict(_pairs(each))[b"name"] for each in consumers]
        if names:
            await self._command("XGROUP", "DELCONSUMER", INBOUND, "engine", self.dice.choice(names))

    async def remove_group(self) -> None:
        """Remove the group of all engines."""
        await self._command("XGROUP", "DESTROY", INBOUND, "engine")

    async def turn_away(self) -> None:
        """Let the far sides refuse, cut, and answer too late."""
        self.program.is_away = True
        self.telegram.fail("sendmessage", 429, retry_after=1, times=2)
        self.telegram.fail("sendmessage", 500, times=2)
        self.telegram.fail("sendmessage", reset=self.dice.choice(("before", "after")), times=2)
        await asyncio.sleep(self.dice.uniform(0.3, 1.0))
        self.program.is_away = False
        self.program.is_slow = True
        await asyncio.sleep(self.dice.uniform(0.1, 0.3))
        self.program.is_slow = False

    async def ask(self, verb: str) -> None:
        """Send a message that makes a model misbehave."""
        name = f"bad{self.dice.randrange(4)}"
        await self.program.ask(name, name, verb)

    async def _command(self, *words: str | bytes) -> Any:
        redis: Any = connect(self.server.url)
        try:
            return await redis.execute_command(*words)
        except (RedisError, OSError, TimeoutError):
            # Redis is away just now, or has no such group: another fault was first.
            return None
        finally:
            await redis.aclose()


def _pairs(flat: Any) -> list[tuple[bytes, Any]]:
    return list(flat.items()) if isinstance(flat, dict) else list(zip(flat[::2], flat[1::2], strict=True))


FAULTS: dict[str, Fault] = {
    "engine killed": lambda on: on.kill(on.engines),
    "hub killed": lambda on: on.kill(on.hubs),
    "engine frozen": lambda on: on.freeze(on.engines),
    "hub frozen": lambda on: on.freeze(on.hubs),
    "answers lost": Faults.lose_answers,
    "redis killed": Faults.crash_redis,
    "redis frozen": Faults.freeze_redis,
    "redis slow": Faults.be_slow,
    "cable pulled": Faults.pull_cable,
    "scripts flushed": Faults.forget_scripts,
    "engines rolled": lambda on: on.roll(on.engines),
    "hubs rolled": lambda on: on.roll(on.hubs),
    "junk": Faults.write_junk,
    "consumer removed": Faults.remove_consumer,
    "group removed": Faults.remove_group,
    "far side away": Faults.turn_away,
    "model fails": lambda on: on.ask("fail"),
    "model hangs": lambda on: on.ask("hang"),
    "model crashes": lambda on: on.ask("abort"),
    "model grows": lambda on: on.ask("grow"),
}


async def survey(url: str, history: History, crashed: float) -> None:
    """Write down what Redis holds after a crash: what waits, and what has ended."""
    client: Any = connect(url)
    waiting: list[str] = []
    # Lanes first: what ends meanwhile is then in both, and never in none.
    async for key in client.scan_iter(match=f"{Keys().lane('inbound', '')}*", count=1000):
        waiting += [entry.decode() for entry in await client.lrange(key, 0, -1)]
    events = [parse_event(fields) for _, fields in await client.xrange(Keys().events)]
    dead = [fields.get(b"entry", b"").decode() for _, fields in await client.xrange(Keys().dead)]
    ended = [event.turn for event in events if isinstance(event, TurnEvent)]
    history.write("survey", crashed=crashed, waiting=waiting, ended=ended + dead)
    await client.aclose()
