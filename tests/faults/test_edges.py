"""What the far side of a channel does again and again, and what it hears while Redis is away."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from pydantic import SecretStr

from connectors.base import Accepted
from connectors.runner import Sender, run_connector
from connectors.telegram import webhook
from connectors.telegram.connector import TelegramConnector
from connectors.telegram.ports import Ports
from hub.bus.bus import Bus
from hub.bus.consumer import ConsumerOptions
from hub.bus.state import State
from hub.errors import BusFull
from hub.messages import InboundMessage
from hub.settings import BusSettings, TelegramSettings
from tests.connectors.http.program import make_connector, message, post, serving
from tests.emulators.bot_api import BotApi
from tests.faults.dying import MortalPlan, run_mortal_edge
from tests.faults.fleet import Fleet, opened_bus
from tests.servers.redis import RedisServer, free_port

REPETITIONS = 50
Storm = Callable[[], Coroutine[Any, Any, list[tuple[int, str]]]]
"""Posts an update very often at once; gives status and `Retry-After` of each answer."""


@contextlib.asynccontextmanager
async def _edge(url: str, **limits: int) -> AsyncIterator[tuple[Bus, str]]:
    """Serve the http channel over a real bus, as its runner does; gives the bus and where to post."""
    bus, connector = Bus(url, BusSettings(**limits)), make_connector("http://127.0.0.1:1/")

    async def publish(inbound: InboundMessage) -> Accepted:
        published = await bus.publish(inbound)
        if published.status == "FULL":
            raise BusFull(published.retry_after_s)
        return Accepted(published.entry, published.status == "DUPLICATE", published.status == "LANE_FULL")

    running = asyncio.create_task(connector.run(publish))
    await asyncio.sleep(0)
    try:
        async with serving(connector) as address:
            yield bus, address
    finally:
        running.cancel()
        await asyncio.wait({running})
        await bus.close()


async def test_a_storm_of_redeliveries_is_one_message(tmp_path: Path) -> None:
    """Fifty at once, through two processes' worth of connectors: all are told success, and one entry is there."""
    with RedisServer(tmp_path) as server:
        async with _edge(server.url) as (bus, one), _edge(server.url) as (_, other):
            posts = (post((one, other)[number % 2], message()) for number in range(REPETITIONS))
            answers = await asyncio.gather(*posts)

            assert {status for status, _, _ in answers} == {202}
            assert len({body["turn"] for _, body, _ in answers}) == 1
            assert sum(not body["duplicate"] for _, body, _ in answers) == 1
            assert await bus.backlog() == 1


async def test_without_redis_the_far_side_is_asked_to_come_again(tmp_path: Path) -> None:
    """503 with a time; what it sends again afterwards is accepted, once."""
    with RedisServer(tmp_path) as server:
        async with _edge(server.url) as (bus, address):
            server.kill()
            status, _, headers = await post(address, message())
            assert (status, int(headers["Retry-After"]) > 0) == (503, True)

            server.start()
            answers = [await post(address, message()) for _ in range(2)]
            assert [(status, body["duplicate"]) for status, body, _ in answers] == [(202, False), (202, True)]
            assert await bus.backlog() == 1


async def test_a_connector_killed_before_it_confirms_has_stored_the_message_once(tmp_path: Path) -> None:
    """Its far side heard nothing and sends again; the process that takes its place knows the message."""
    (tmp_path / "redis").mkdir()
    with RedisServer(tmp_path / "redis") as server:
        port = free_port()
        plan = MortalPlan(url=server.url, moment="published", mark=tmp_path / "died", port=port)
        main: Any = run_mortal_edge
        async with opened_bus(plan) as bus:
            with Fleet(main, plan, tmp_path, size=1) as edges:
                url, unheard = f"http://127.0.0.1:{port}/api/v1/hooks/http", 0
                heard: list[tuple[int, Any, dict[str, str]]] = []
                async with asyncio.timeout(60):
                    while len(heard) < 2:
                        try:
                            heard.append(await post(url, message()))
                        except aiohttp.ClientConnectorError:
                            # Nobody listens yet.
                            edges.restart_ended()
                            await asyncio.sleep(0.02)
                        except aiohttp.ClientError:
                            unheard += 1

                assert unheard >= 1
                assert plan.mark.exists()
                assert [(status, body["duplicate"]) for status, body, _ in heard] == [(202, True)] * 2
                assert await bus.backlog() == 1


async def test_telegram_storms_the_webhook_while_redis_goes_away(tmp_path: Path) -> None:
    """The same update fifty times at once before, while and after Redis is dead: 200 or "come again", and one message."""
    (tmp_path / "redis").mkdir()
    async with BotApi() as telegram:
        with RedisServer(tmp_path / "redis") as server:
            async with _webhook(server.url, telegram) as (bus, storm):
                going = asyncio.create_task(storm())
                await asyncio.sleep(0)
                server.kill()
                while_dying, while_dead = await going, await storm()
                server.start()
                afterwards = await storm()

                assert {status for status, _ in while_dying} <= {200, 503}
                assert {status for status, _ in while_dead} == {503}
                refused = [after for status, after in while_dying + while_dead if status == 503]
                assert all(int(after) > 0 for after in refused)
                assert {status for status, _ in afterwards} == {200}
                assert await bus.backlog() == 1


@contextlib.asynccontextmanager
async def _webhook(url: str, telegram: BotApi) -> AsyncIterator[tuple[Bus, Storm]]:
    """Serve Telegram's webhook over a real bus; gives the bus and what posts an update very often at once."""
    bus, port, stop = Bus(url, BusSettings()), free_port(), asyncio.Event()
    settings = TelegramSettings(token=SecretStr(telegram.token), api_base=telegram.url, stream=False)
    ports = Ports(store=State(bus.redis, "telegram"), quarantine=bus.dead_letters.quarantine)
    connector = TelegramConnector(settings, f"http://127.0.0.1:{port}", ports)
    app = web.Application()
    app.add_routes(connector.routes())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=2 * REPETITIONS).start()
    sender = Sender(bus, connector, give_up_s=60)
    options = ConsumerOptions(concurrency=1, drain_timeout_s=0.1)
    running = asyncio.create_task(run_connector(connector, bus, sender, stop, options=options))
    body = json.dumps({"update_id": 1, "message": telegram.message(4711, "Hello")}).encode()

    async def storm() -> list[tuple[int, str]]:
        hook = telegram.webhook
        assert hook
        headers = {webhook.SECRET_HEADER: hook.secret or ""}
        async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0)) as client:

            async def one() -> tuple[int, str]:
                async with client.post(hook.url, data=body) as answer:
                    await answer.read()
                    return answer.status, answer.headers.get("Retry-After", "")

            return await asyncio.gather(*(one() for _ in range(REPETITIONS)))

    try:
        await telegram.until(lambda: telegram.webhook)
        yield bus, storm
    finally:
        stop.set()
        await running
        await runner.cleanup()
        await connector.close()
        await bus.close()


async def test_one_sender_fills_a_conversation_and_no_more(tmp_path: Path) -> None:
    """Whoever writes without end is told so; everybody else gets in, until there is no room for anybody."""
    with RedisServer(tmp_path) as server:
        async with _edge(server.url, max_lane=5, max_backlog=12) as (bus, address):
            flood = [await post(address, message(id=f"f{number}")) for number in range(20)]
            others = [
                await post(address, message(id=f"o{number}", conversation=f"o{number}"))
                for number in range(10)
            ]

            assert [status for status, _, _ in flood] == [202] * 5 + [429] * 15
            assert [status for status, _, _ in others] == [202] * 7 + [503] * 3
            refused = [headers for status, _, headers in (*flood, *others) if status != 202]
            assert all(int(headers["Retry-After"]) > 0 for headers in refused)
            assert await bus.backlog() == 12
