"""A conversation with a program, over pipes."""

import asyncio
import json
import os
import sys
from pathlib import Path

from tests.hub.api.serving import Api
from tests.servers.redis import RedisServer


async def test_a_program_talks_by_lines(api: Api, redis_server: RedisServer, data: Path) -> None:
    """Each line in is answered by one of JSON, in the same conversation, before the next is asked; blank ones are not."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hub", "chat", "--json"),
        env={**os.environ, "HUBBUB_BUS__REDIS_URL": redis_server.url, "HUBBUB_DATA": str(data)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    answers = []
    async with asyncio.timeout(30):
        for line in (b"first\n", b"\n  \nsecond \xff\n"):
            process.stdin.write(line)
            answers.append(json.loads(await process.stdout.readline()))
        process.stdin.close()
        assert await process.stdout.read() == b""
        assert await process.wait() == 0

    assert [answer["response"] for answer in answers] == ["You said: first", "You said: second \ufffd"]
    assert answers[0]["sources"][0]["location"] == "docs/guide.md"
    assert len({message.conversation for message in api.engine.seen}) == 1
