"""Looking a gap up: a service that answers well, badly, late, or from where nobody may ask."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from hub.errors import KnowledgeError
from hub.guard_settings import GapSettings
from knowledge.gaps.lookup import MAX_BODY_BYTES, MAX_PROPOSALS, Lookup

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Service:
    """A retrieval service that does what a test says."""

    def __init__(self) -> None:
        self.handler: Handler = self._nothing
        self.asked: list[Any] = []
        self.url = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Note what was asked, and answer."""
        self.asked.append(await request.json())
        return await self.handler(request)

    async def _nothing(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"documents": []})

    def says(self, value: Any) -> None:
        """Answer with this from now on."""

        async def handler(request: web.Request) -> web.StreamResponse:
            return web.json_response(value)

        self.handler = handler


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """A service on a free port of this machine."""
    running = Service()
    app = web.Application()
    app.router.add_post("/query", running.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    running.url = f"http://127.0.0.1:{runner.addresses[0][1]}/query"
    yield running
    await runner.cleanup()


def _settings(url: str, **more: Any) -> GapSettings:
    return GapSettings.model_validate({"retrieval_url": url, "retrieval_private": True, **more})


async def test_what_was_found_is_a_list_of_proposals(service: Service) -> None:
    """In any of the usual words, on one line each, without what nobody sees; bad ones are left out."""
    service.says(
        {
            "documents": [
                {"title": "Parking\n", "summary": "Behind\u202e the\nhouse.", "url": "https://example.org/p"},
                {"text": "In front."},
                {"title": "no text"},
                "not even an object",
                *[{"text": f"more {number}"} for number in range(9)],
            ]
        }
    )

    found = await Lookup(_settings(service.url)).ask("Where can I park?")

    assert service.asked == [{"query": "Where can I park?"}]
    assert found[0] == {"title": "Parking", "text": "Behind the house.", "url": "https://example.org/p"}
    assert found[1] == {"title": "", "text": "In front.", "url": ""}
    assert len(found) == MAX_PROPOSALS


@pytest.mark.parametrize("said", [[], {"documents": "none"}, {"other": 1}, "text", None])
async def test_an_answer_nobody_understands_is_an_error(service: Service, said: Any) -> None:
    """With words for the operator."""
    service.says(said)

    with pytest.raises(KnowledgeError, match="no list of documents"):
        await Lookup(_settings(service.url)).ask("Where?")


async def test_a_service_that_is_slow_long_or_leads_elsewhere_is_given_up(service: Service) -> None:
    """In time, within memory, and without following it."""
    go_on = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await go_on.wait()
        return web.json_response({"documents": []})

    async def long(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"[" + b" " * MAX_BODY_BYTES)

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect("http://169.254.169.254/latest/meta-data")

    lookup = Lookup(_settings(service.url, retrieval_timeout_s=0.3))
    for handler, said in ((slow, "fell silent"), (long, "longer than"), (elsewhere, "status 307")):
        service.handler = handler
        with pytest.raises(KnowledgeError, match=said):
            await lookup.ask("Where?")
    go_on.set()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/q",
        "http://10.1.2.3/q",
        "http://169.254.169.254/latest",
        "http://[::1]/q",
        "http://[::ffff:10.0.0.1]/q",
        "http://[64:ff9b::a00:1]/q",
        "http://0.0.0.0/q",
        "ftp://example.org/q",
        "file:///etc/passwd",
        "https://user:pass@example.org/q",
        "example.org",
        "http://",
    ],
)
def test_an_address_that_may_not_be_asked_is_refused_at_once(url: str) -> None:
    """Private networks, other schemes, passwords."""
    with pytest.raises(KnowledgeError, match="retrieval_url"):
        Lookup(GapSettings(retrieval_url=url))


def test_nothing_is_looked_up_by_default() -> None:
    """There is no address to ask."""
    with pytest.raises(KnowledgeError, match="empty in the settings"):
        Lookup(GapSettings())


async def test_a_name_that_leads_into_a_private_network_is_refused(service: Service) -> None:
    """Whatever else it leads to: it is the address that is connected to that is checked."""
    port = service.url.split(":")[2]

    with pytest.raises(KnowledgeError, match="public internet"):
        await Lookup(GapSettings(retrieval_url=f"http://localhost:{port}")).ask("Where?")

    assert service.asked == []
