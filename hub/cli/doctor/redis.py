"""Redis: whether it answers, would lose nothing, agrees on the time, and what waits or was given up in it."""

import time
from typing import Any

from hub.app import redis_url
from hub.backup.unfinished import is_redis_marked
from hub.bus.bus import INBOUND, Bus
from hub.bus.connection import bus_errors
from hub.bus.durability import durability_advice, durability_faults, require_shards
from hub.bus.embedded import find_server
from hub.bus.heartbeat import is_alive
from hub.bus.nodes import servers
from hub.cli.doctor.finding import Finding, State, fail, ok, warn
from hub.errors import BusError, SettingsError
from hub.settings import Settings

MOST_SKEW_S = 5.0
NEARLY_FULL = 0.8
_CURES = (
    ("maxmemory-policy", "Set `maxmemory-policy noeviction` in redis.conf, or run `redis-cli CONFIG SET maxmemory-policy noeviction`."),
    ("appendonly", "Set `appendonly yes` in redis.conf, or run `redis-cli CONFIG SET appendonly yes`."),
    ("appendfsync", 'Run `redis-cli CONFIG SET appendfsync always`, or set `appendfsync = "everysec"` in the table [bus].'),
    ("is version", "Install Redis 6.2 or newer, or leave `bus.redis_url` empty: then the hub starts a server of its own."),
)  # fmt: skip
_OWN_WORDS = "Do what it says, and run `hubbub doctor` again."
_CAUSES = (
    ("WRONGPASS", "Its user or password is wrong: correct them in HUBBUB_BUS__REDIS_URL, redis://USER:PASSWORD@HOST:PORT/0."),
    ("invalid username-password", "Its user or password is wrong: correct them in HUBBUB_BUS__REDIS_URL, redis://USER:PASSWORD@HOST:PORT/0."),
    ("invalid password", "Its password is wrong: correct it in HUBBUB_BUS__REDIS_URL, redis://:PASSWORD@HOST:PORT/0."),
    ("HELLO must be called", "It wants a password: set HUBBUB_BUS__REDIS_URL to redis://:PASSWORD@HOST:PORT/0."),
    ("Authentication required", "It wants a password: set HUBBUB_BUS__REDIS_URL to redis://:PASSWORD@HOST:PORT/0."),
    ("NOPERM", "Its user may not do that: allow it with `ACL SETUSER NAME ~hubbub:* +@all`."),
    ("certificate", "Its certificate is not trusted: name the server as its certificate does, and add ?ssl_ca_certs=/path/ca.pem."),
)  # fmt: skip


async def look_at_redis(settings: Settings) -> list[Finding]:
    """Look at the server of the settings, or at the program that would be embedded."""
    if not settings.bus.redis_url.get_secret_value():
        try:
            program = find_server(settings.bus)
        except SettingsError as error:
            advice = "Run `apt install redis-server`, or set `bus.redis_url` to a server you run."
            return [fail("redis", str(error), advice)]
        try:
            redis_url(settings)
        except SettingsError:
            version = ".".join(map(str, program.version))
            text = f"embedded {version} ({program.path}), not running"
            return [Finding(part="redis", state="ok", text=text, advice="`hubbub up` starts it.")]
    try:
        require_shards(settings.bus)
        bus = Bus(redis_url(settings), settings.bus)
    except (SettingsError, ValueError) as error:
        advice = "Set HUBBUB_BUS__REDIS_URL to one of the forms that settings.toml shows, and bus.shards to fit it."
        return [fail("redis", f"Redis cannot be used with these settings: {error}", advice)]
    try:
        return await _running(bus, settings)
    except BusError as error:
        return [fail("redis", str(error), _cure_of(str(error), settings))]
    finally:
        await bus.close()


def _cure_of(error: str, settings: Settings) -> str:
    for words, advice in _CAUSES:
        if words in error:
            return advice
    if settings.bus.redis_url.get_secret_value():
        return "Start that server, or correct HUBBUB_BUS__REDIS_URL."
    return "Its hub was killed: start it again with `hubbub up`, which takes the socket over."


async def _running(bus: Bus, settings: Settings) -> list[Finding]:
    await bus.ping()
    faults = (
        await durability_faults(bus.redis, settings.bus) if settings.bus.redis_url.get_secret_value() else []
    )
    waiting, dead = await bus.backlog(INBOUND), await bus.dead_letters.count()
    state: State = "warn" if settings.bus.allow_unsafe_redis else "fail"
    findings = [ok("redis", f"answers; {waiting} messages wait or run")]
    findings += [
        Finding(
            part="redis",
            state=state,
            text=fault,
            advice=next((cure for words, cure in _CURES if words in fault), _OWN_WORDS),
        )
        for fault in faults
    ]
    findings += [
        warn("redis", advice, _OWN_WORDS) for advice in await durability_advice(bus.redis, settings.bus)
    ]
    findings += [finding for finding in (await _clock(bus), *await _memory(bus)) if finding]
    if await is_redis_marked(bus.redis):
        advice = "Run `hubbub restore FILE` with the same backup again; until then no hub starts."
        findings.append(fail("restore", "a restore into this Redis has not finished", advice))
    if dead:
        text = f"{dead} messages were given up"
        findings.append(
            warn("dead letters", text, "`hubbub dead list` shows why, `hubbub dead replay` puts them back.")
        )
    return [*findings, *await _processes(bus)]


async def _clock(bus: Bus) -> Finding | None:
    client: Any = bus.redis
    began = time.time()
    with bus_errors("Redis cannot be asked for its time"):
        seconds, microseconds = await client.time()
    # Its answer is of some moment between the question and now.
    theirs = seconds + microseconds / 1e6
    skew_s = max(began - theirs, theirs - time.time(), 0.0)
    if skew_s <= MOST_SKEW_S:
        return None
    text = f"the clocks of this machine and of Redis differ by {skew_s:.0f} s"
    return warn(
        "clock",
        text,
        "Run `timedatectl set-ntp true` on both machines: times of messages and limits depend on it.",
    )


async def _memory(bus: Bus) -> list[Finding]:
    findings = []
    async with servers(bus.redis) as found:
        for server in found:
            if server.is_replica:
                continue
            client: Any = server.client
            with bus_errors("Redis cannot be asked for its memory"):
                info = await client.info("memory")
            most, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
            if not most or used < NEARLY_FULL * most:
                continue
            name = f"Redis {server.name}".strip()
            text = f"{name} uses {used >> 20} of the {most >> 20} MiB it may: messages are refused when it is full"
            cure = f"Run `redis-cli CONFIG SET maxmemory {2 * (most >> 20)}mb`, and set it in redis.conf."
            findings.append(warn("redis memory", text, cure))
    return findings


async def _processes(bus: Bus) -> list[Finding]:
    hub, engine = [await is_alive(bus.redis, role) for role in ("hub", "engine")]
    if hub and not engine:
        text = "the hub runs, and no engine: messages wait"
        return [
            fail(
                "engine process",
                text,
                "Run `hubbub run engine` with the same settings, or see why it ended in the log of `hubbub up`.",
            )
        ]
    if engine and not hub:
        text = "an engine runs, and no hub: nobody takes messages in"
        return [fail("hub process", text, "Run `hubbub run api web telegram email` with the same settings.")]
    return [ok("processes", "hub and engine run" if hub else "no hub runs")]
