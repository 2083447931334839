"""Conversations in a terminal."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.servers.redis import RedisServer


async def test_ctrl_c_ends_a_conversation_that_waits_for_a_line(
    redis_server: RedisServer, data: Path
) -> None:
    """At once, not at the next key, and without a traceback."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hub", "chat"),
        env={**os.environ, "HUBBUB_BUS__REDIS_URL": redis_server.url, "HUBBUB_DATA": str(data)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        # A shell that runs the tests in the background has them ignore SIGINT, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout
    async with asyncio.timeout(30):
        await process.stdout.readuntil(b"> ")

        process.send_signal(signal.SIGINT)

        rest = await process.stdout.read()
        assert await process.wait() == 130
    assert rest.strip() == b""
