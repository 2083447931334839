"""The service `models`: what all engines' models do, and orders that reach every engine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from engine.models.base import ChatMessage, GenerateOptions, Prompt
from engine.models.service import ModelService
from hub.bus.connection import connect_reader
from hub.bus.control import Control
from hub.errors import HubError, UnknownModel
from hub.model_settings import ModelSettings, RemoteSettings
from hub.model_states import ModelState, ModelStates
from tests.echo_host import CONTEXT_LENGTH
from tests.engine.models.managed import WAIT_S, Managed, managed, model_file
from tests.servers.redis import RedisServer


class Engine:
    """What one engine has to do with models."""

    def __init__(self, made: Managed, service: ModelService) -> None:
        self.made = made
        self.service = service

    async def ask(self, action: str, model: str = "") -> dict[str, dict[str, Any]]:
        """Call the service; gives the states by name."""
        answer = await self.service.answer({"action": action, "model": model})
        return {state["name"]: state for state in answer["models"]}


@pytest.fixture
async def engines(redis_server: RedisServer, redis: Redis, tmp_path: Path) -> AsyncIterator[list[Engine]]:
    """Two engines on one Redis."""
    async with AsyncExitStack() as opened:
        yield [await opened.enter_async_context(_engine(redis_server, redis, tmp_path)) for _ in range(2)]


@asynccontextmanager
async def _engine(server: RedisServer, redis: Redis, folder: Path) -> AsyncIterator[Engine]:
    files: dict[str, ModelSettings] = {
        "a": model_file(folder, "a").model_copy(update={"parallel": 3, "quantization": "Q4_1"}),
        "broken": model_file(folder, "broken", content=b"broken"),
        "far": RemoteSettings(type="remote", base_urls=("http://127.0.0.1:1/v1",), model="llama3"),
    }
    stop = asyncio.Event()
    async with asyncio.timeout(WAIT_S), managed(folder, files) as made:
        control = Control(redis, connect_reader(server.url))
        service = ModelService(made.manager, ModelStates(redis), control.send)
        control.listen(service.obey)
        tasks = [asyncio.create_task(control.run(stop)), asyncio.create_task(service.run(stop))]
        await control.ready.wait()
        yield Engine(made, service)
        stop.set()
        await asyncio.gather(*tasks)


async def test_models_are_listed_with_what_they_are(engines: list[Engine]) -> None:
    """All of the registry, loaded or not; of a path only the name of the file."""
    states = await engines[0].ask("list")

    assert {name: state["state"] for name, state in states.items()} == dict.fromkeys(
        ("a", "broken", "far", "smollm2-135m"), "unloaded"
    )
    a = states["a"]
    assert (a["type"], a["path"], a["context_length"], a["parallel"]) == ("gguf", "a.gguf", 0, 3)
    assert (a["roles"], a["quantization"], a["last_used"]) == (["general", "coding"], "Q4_1", None)
    assert states["far"]["path"] == "llama3"


async def test_a_load_reaches_every_engine(engines: list[Engine]) -> None:
    """The one that is asked answers when it has loaded; the sum tells of both."""
    one, other = engines

    state = (await one.ask("load", "a"))["a"]
    assert (state["state"], state["context_length"]) == ("loaded", CONTEXT_LENGTH)
    assert state["memory_bytes"] > 1 << 20
    while other.made.loaded() != ["a"]:
        await asyncio.sleep(0.01)
    await other.made.ask("a")
    while (state := (await one.ask("list"))["a"])["engines"] < 2 or not state["last_used"]:
        await asyncio.sleep(0.01)
    assert state["memory_bytes"] > one.made.manager.slots.used_bytes()

    await other.ask("unload", "general")
    while one.made.loaded():
        await asyncio.sleep(0.01)
    while (await one.ask("list"))["a"]["engines"]:
        await asyncio.sleep(0.01)
    assert (await one.ask("list"))["a"]["state"] == "unloaded"


async def test_what_runs_is_told_as_of_the_moment(engines: list[Engine], tmp_path: Path) -> None:
    """Not as of when somebody last looked: whoever hangs up is gone from the list as soon as from the model."""
    one, file = engines[0], tmp_path / "ended"
    await one.ask("load", "a")

    async with one.made.manager.use("a") as model:
        prompt = Prompt(messages=(ChatMessage(role="user", text=f"hang {file}"),))
        async with aclosing(model.stream(prompt, GenerateOptions(max_tokens=9))) as events:
            await anext(events)
            during = (await one.ask("list"))["a"]["running"]
        while not file.exists():
            await asyncio.sleep(0.01)
        after = (await one.ask("list"))["a"]["running"]

    assert (during, after) == (1, 0)


async def test_a_load_that_fails_is_a_state_with_its_reason(engines: list[Engine]) -> None:
    """Shown until it is loaded."""
    state = (await engines[0].ask("load", "broken"))["broken"]

    assert (state["state"], state["error"]) == ("failed", "model broken is broken")


async def test_strange_requests_are_refused(engines: list[Engine]) -> None:
    """The caller is told what can be asked."""
    with pytest.raises(UnknownModel):
        await engines[0].ask("load", "gone")
    for request in (
        {},
        {"action": "load"},
        {"action": "load", "model": 5},
        {"action": "delete", "model": "a"},
    ):
        with pytest.raises(HubError, match="list, load or unload"):
            await engines[0].service.answer(request)


async def test_what_cannot_be_read_of_another_engine_is_passed_over(redis: Redis) -> None:
    """An engine of another version, or a damaged row."""
    client: Any = redis
    one, other = ModelStates(redis), ModelStates(redis)
    state = ModelState(name="a", type="gguf", context_length=1)
    await one.write([state])
    assert await other.others() == [state]
    assert await one.others() == []

    [key] = await client.keys("*:models:*")
    await client.set(key, b"{")
    assert await other.others() == []

    await one.write([state])
    await one.withdraw()
    assert await other.others() == []
