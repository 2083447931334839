"""The machine: Python, the disk, and whether the port can be used."""

import asyncio
import platform
import shutil
import socket
from pathlib import Path

from hub.cli.doctor.finding import Finding, fail, ok, warn
from hub.cli.doctor.running import is_running
from hub.egress.guard import allow
from hub.egress.rule import Rule, plain_host
from hub.settings import Settings

LEAST_FREE_BYTES = 1 << 30
ANSWER_S = 2.0
FULL_BYTES = 16 << 20
"""With less, Redis and the database refuse what they should write."""


async def look_at_machine(settings: Settings) -> list[Finding]:
    """Look at Python, the disk and the port."""
    version = ok("python", f"{platform.python_version()} on {platform.platform()}")
    return [version, _disk(settings.data), await _port(settings)]


def _disk(data: Path) -> Finding:
    place = data.expanduser().resolve()
    # Before the first start there is no folder yet; its disk is that of the nearest one above it.
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    text = f"{free / 1e9:.1f} GB free in {place}"
    if free < FULL_BYTES:
        return fail(
            "disk",
            f"the disk is full: {text}",
            "Free some room, or choose another folder with --data or the setting `data`.",
        )
    if free < LEAST_FREE_BYTES:
        return warn(
            "disk",
            text,
            "Redis and the index need room: free some, or choose another folder with --data or the setting `data`.",
        )
    return ok("disk", text)


async def _port(settings: Settings) -> Finding:
    host, port = settings.api.host, settings.api.port
    shown = f"port {port} of {host}"
    if await is_running(settings, "hub"):
        if await _answers(host, port):
            return ok("port", f"{shown} is the running hub's")
        return ok(
            "port", f"a hub runs, and not at {shown}: it was started with another, or on another machine"
        )
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, _, _, address = found[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            # Where another socket listens, binding alone may succeed.
            probe.listen(1)
    except OSError as error:
        return fail(
            "port",
            f"{shown} cannot be used: {error.strerror or error}",
            "Set another `port` or `host` in the table [api], or give `hubbub up --port 9000`; `ss -ltnp` shows who has it.",
        )
    return ok("port", f"{shown} is free")


async def _answers(host: str, port: int) -> bool:
    # Nothing else of the hub connects to its own port, so no setting allows it.
    allow([Rule(host=plain_host(host), port=port, purpose="doctor")])
    try:
        async with asyncio.timeout(ANSWER_S):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True
