"""Pages of other people that hold the widget, each with attributes and a policy of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import escape

from aiohttp import web

STRICT = (
    "default-src 'none'; script-src {hub}; connect-src {socket} {hub}; style-src 'none'; img-src 'none'; "
    "base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""As little as a page can allow; the widget needs no more."""


@asynccontextmanager
async def hosting(
    hub: str, *, lang: str = "en", policy: str = "", port: int = 0, **attributes: str
) -> AsyncIterator[str]:
    """Serve one page that holds the widget of a hub; yields its origin.

    Args:
        hub: address of the hub.
        lang: language of the page; empty: it names none.
        policy: its Content-Security-Policy, where `{hub}` and `{socket}` stand for the hub's addresses.
        port: 0: one that is free.
        attributes: of the script tag, without `data-`.
    """
    data = " ".join(f'data-{name}="{escape(value)}"' for name, value in attributes.items())
    text = (
        f"<!doctype html><html{f' lang={lang}' if lang else ''}><title>Shop</title><body><main><h1>Shop</h1></main>"
        f'<script src="{hub}/widget.js" async {data}></script></html>'
    )
    headers = {}
    if policy:
        headers["Content-Security-Policy"] = policy.format(hub=hub, socket=hub.replace("http", "ws", 1))

    async def index(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type="text/html", headers=headers)

    app = web.Application()
    app.add_routes([web.get("/", index)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
