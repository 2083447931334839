"""The other side: what one would write with aiogram, aiohttp and aioimaplib alone, which only stores and forwards.

python -m benchmarks.connecting.plain webhook|sockets|mail     everything else comes in the environment
"""

import asyncio
import email
import hmac
import os
import sys
from typing import Any

import uvloop
from aiohttp import web
from redis.asyncio import Redis

UPDATES, MAILS, DELTAS = "plain:updates", "plain:mails", "plain:deltas"
SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"


def redis() -> Any:
    """Connect to the Redis that both sides use."""
    return Redis.from_url(os.environ["PLAIN_REDIS"])


async def serve(app: web.Application) -> None:
    """Listen until the process is ended."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(os.environ["PLAIN_PORT"])).start()
    await asyncio.Event().wait()


async def webhook() -> None:
    """Take updates, read them with aiogram, store them."""
    from aiogram.types import Update  # noqa: PLC0415 - the others need not wait for it

    client, secret = redis(), os.environ["PLAIN_SECRET"]

    async def take(request: web.Request) -> web.Response:
        if not hmac.compare_digest(request.headers.get(SECRET_HEADER, ""), secret):
            return web.Response(status=401)
        update = Update.model_validate_json(await request.read())
        await client.xadd(UPDATES, {"update": update.model_dump_json(exclude_none=True)})
        return web.json_response({})

    app = web.Application()
    app.add_routes([web.post("/", take)])
    await serve(app)


async def sockets() -> None:
    """Keep sockets by the name they send first, and forward to them what a stream holds."""
    client, open_sockets = redis(), dict[str, web.WebSocketResponse]()

    async def hold(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        name = await socket.receive_str()
        open_sockets[name] = socket
        await socket.send_str('{"t":"ready"}')
        async for _ in socket:
            pass
        del open_sockets[name]
        return socket

    async def forward() -> None:
        last = "$"
        while True:
            for _, entries in await client.xread({DELTAS: last}, count=1000, block=1000):
                for last, fields in entries:  # noqa: B007 - the last one is where to go on
                    socket = open_sockets.get(fields[b"to"].decode())
                    if socket is not None:
                        await socket.send_str(fields[b"frame"].decode())

    app = web.Application()
    app.add_routes([web.get("/", hold)])
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(app))
        tasks.create_task(forward())


async def mail() -> None:
    """Fetch every mail of a mailbox, parse it, store it."""
    import aioimaplib  # noqa: PLC0415

    client = redis()
    imap = aioimaplib.IMAP4("127.0.0.1", int(os.environ["PLAIN_PORT"]))
    await imap.wait_hello_from_server()
    await imap.login(os.environ["PLAIN_USER"], os.environ["PLAIN_PASSWORD"])
    await imap.select("INBOX")
    _, found = await imap.uid_search("ALL")
    for uid in found[0].split():
        _, lines = await imap.uid("fetch", uid.decode(), "(BODY.PEEK[])")
        message = email.message_from_bytes(bytes(lines[1]))
        body = message.get_payload(decode=True)
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else ""
        await client.xadd(MAILS, {"id": str(message["Message-ID"]), "text": text})
    await imap.logout()


if __name__ == "__main__":
    uvloop.run({"webhook": webhook, "sockets": sockets, "mail": mail}[sys.argv[1]]())
