"""The other side: a handler of aiohttp that reads JSON and answers with as much JSON, and does nothing else.

python -m benchmarks.serving.bare PORT
"""

import asyncio
import sys

import orjson
import uvloop
from aiohttp import web

ANSWER = {
    "response": "What is said about number 12345?",
    "kind": "answer",
    "sources": [],
    "session_id": "s12345",
    "turn": "1763716800000-0",
    "model": "hubbub",
    "tokens_used": 0,
    "processing_time": 0.001,
    "timestamp": "2026-11-21T12:00:00Z",
    "usage": None,
}


async def answer(request: web.Request) -> web.Response:
    """Answer one question."""
    asked = orjson.loads(await request.read())
    document = {**ANSWER, "response": asked["prompt"], "session_id": asked["session_id"]}
    return web.Response(body=orjson.dumps(document), content_type="application/json")


async def main() -> None:
    """Listen until the process is ended."""
    app = web.Application()
    app.add_routes([web.post("/api/v1/chat", answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(sys.argv[1]), backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
