"""Models of a running hub: missing, fetched, loaded, killed, chosen by a person, asked by another engine; it goes on."""

import asyncio
import contextlib
import hashlib
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psutil
import pytest
import pytest_asyncio

from engine.models.base import ChatMessage, End, GenerateOptions, Prompt, Text
from engine.models.llama.files import bundled_file
from engine.replies import MODEL_UNAVAILABLE
from hub.errors import ModelError
from hub.model_registry import ModelRegistry
from hub.provision.verify import verify
from hub.settings import Settings
from tests.emulators.model_hub import REPO, ModelHub
from tests.engine.models.remote.asking import ask as ask_remote
from tests.engine.models.remote.asking import remote
from tests.gguf_vocabulary import write_vocabulary
from tests.hub_process import HubProcess

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

WAIT_S = 120
TOLD, ASKED = "My name is Omdeep.", "What is my name?"
MODEL = "smollm2-135m"
FILE = "small-Q4_0.gguf"
CLIENTS = 100
QUESTION = "What is the capital of France?"
CAPITAL = Prompt(messages=(ChatMessage(role="user", text=QUESTION),))
STORY = Prompt(messages=(ChatMessage(role="user", text="Tell a long story about a ship."),))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ModelHub]:
    """Where models come from; it has one of random weights."""
    file = write_vocabulary(tmp_path_factory.mktemp("server") / FILE, weights_seed=1)
    async with ModelHub({FILE: file.read_bytes()}) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(server: ModelHub, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HubProcess]:
    """A hub whose own model is not there yet."""
    data = tmp_path_factory.mktemp("hub") / "data"
    data.mkdir()
    register(data, "late")
    settings = {
        "HUBBUB_ENGINE__MODEL": "late",
        "HUBBUB_PROVISION__ENDPOINT": server.endpoint,
        "HUBBUB_EGRESS__ALLOW": '["localhost"]',
    }
    async with HubProcess(data, settings, scopes=("models",)) as hub:
        yield hub


def register(data: Path, *names: str) -> None:
    """Write a models.json with these models, each in a file of its name."""
    write_entries(data, {name: {"path": f"{name}.gguf", "profile": "smollm2"} for name in names})


def write_entries(data: Path, entries: Mapping[str, Any]) -> None:
    """Write a models.json as a whole."""
    new = data / "models.json.new"
    new.write_bytes(orjson.dumps({"models": entries}))
    new.replace(data / "models.json")


async def ask(hub: HubProcess, session: str, *texts: str) -> str:
    """Say something in a session and return the last answer."""
    response = ""
    for text in texts:
        _, body = await hub.post("/chat", {"prompt": text, "session_id": session})
        response = body.get("response") or orjson.dumps(body).decode()
    return response


def model_processes(hub: HubProcess) -> list[int]:
    """Find the processes of a hub's models."""
    found = []
    for process in psutil.Process(hub.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "engine.models.host" in process.cmdline():
                found.append(process.pid)
    return found


async def _has_model_processes(hub: HubProcess, number: int) -> None:
    # A process that has given everything back may take a moment to end.
    async with asyncio.timeout(20):
        while len(model_processes(hub)) != number:
            await asyncio.sleep(0.05)


async def test_a_hub_without_its_model_says_so_and_goes_on_when_it_comes(hub: HubProcess) -> None:
    """What needs no model is answered, the rest told clearly; nobody has to start the hub again."""
    assert "Omdeep" in await ask(hub, "a", TOLD)
    assert MODEL_UNAVAILABLE in await ask(hub, "a", ASKED)
    assert model_processes(hub) == []
    assert "there is no file" in hub.log()

    (hub.data / "late.gguf").symlink_to(bundled_file())

    assert "Omdeep" in await ask(hub, "a", ASKED)
    assert len(model_processes(hub)) == 1


async def test_a_fetched_model_can_be_chosen_at_once(hub: HubProcess) -> None:
    """By `/model`, for this conversation only."""
    (hub.data / "pulled.gguf").symlink_to(bundled_file())
    register(hub.data, "late", "pulled")

    assert "`pulled`" in await ask(hub, "b", "/model")
    assert "`pulled` answers" in await ask(hub, "b", "/model pulled")

    assert "Omdeep" in await ask(hub, "b", TOLD, ASKED)
    assert len(model_processes(hub)) == 2
    assert "`late`, which answers here now" in await ask(hub, "a", "/model")
    assert "`pulled`, which answers here now" in await ask(hub, "b", "/model")
    await ask(hub, "b", "/forget")
    assert "`late`, which answers here now" in await ask(hub, "b", "/model")


async def test_a_model_killed_while_it_answers_costs_nobody_an_answer(hub: HubProcess) -> None:
    """Kill -9 under load; the turns are tried again, and the engine itself was never gone."""
    sessions = [f"k{number}" for number in range(12)]
    await asyncio.gather(*(ask(hub, session, TOLD) for session in sessions))
    asking = [asyncio.create_task(ask(hub, session, ASKED)) for session in sessions]
    async with asyncio.timeout(WAIT_S):
        # Not before the first answer: then the others are on their way.
        await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        for pid in model_processes(hub):
            os.kill(pid, signal.SIGKILL)

        assert all("Omdeep" in text for text in await asyncio.gather(*asking))
        while "model_process_ended" not in hub.log():
            await asyncio.sleep(0.05)

    assert "child_ended" not in hub.log()


# -- another engine's remote model -------------------------------------------------------------------------


async def stopped(hub: HubProcess, turns: int) -> None:
    """Wait until the engine has stopped so many turns since the hub began."""
    async with asyncio.timeout(WAIT_S):
        while hub.log().count("turn_stopped") < turns:
            await asyncio.sleep(0.02)


async def test_a_remote_model_streams_from_a_hub(hub: HubProcess) -> None:
    """Piece by piece, with what the hub counted, and only with a key that the hub knows."""
    async with remote(f"{hub.url}/v1", model=MODEL, api_key=hub.key) as model:
        events = [event async for event in model.stream(CAPITAL, GenerateOptions(max_tokens=20))]
    async with remote(f"{hub.url}/v1", model=MODEL, api_key="cc_live_wrong") as model:
        with pytest.raises(ModelError, match="does not accept the API key"):
            await ask_remote(model, CAPITAL)

    pieces = [event.text for event in events if isinstance(event, Text)]
    end = events[-1]
    assert "Paris" in "".join(pieces)
    assert len(pieces) > 1
    assert isinstance(end, End)
    assert (end.reason, end.answer_tokens) == ("stop", 7)


async def test_a_hub_has_a_model_of_another_hub(hub: HubProcess) -> None:
    """An entry of `models.json` is enough; here it leads back to the same hub."""
    entries = orjson.loads((hub.data / "models.json").read_bytes())["models"]
    entries["far"] = {"type": "remote", "base_urls": [f"{hub.url}/v1"], "model": MODEL, "api_key": hub.key}
    write_entries(hub.data, entries)
    _, near = await hub.post("/api/v1/generate", {"model": MODEL, "prompt": QUESTION, "max_tokens": 20})
    status, far = await hub.post("/api/v1/generate", {"model": "far", "prompt": QUESTION, "max_tokens": 20})

    assert status == 200, far
    assert far["model"] == "far"
    assert far["response"] == near["response"]


async def test_a_given_up_answer_frees_the_hubs_model(hub: HubProcess) -> None:
    """Closing the stream cancels the turn over there."""
    before = hub.log().count("turn_stopped")
    async with remote(f"{hub.url}/v1", model=MODEL, api_key=hub.key) as model:
        events = model.stream(STORY, GenerateOptions(max_tokens=1500))
        assert isinstance(await anext(events), Text)

        await events.aclose()

        await stopped(hub, before + 1)
        assert "Paris" in (await ask_remote(model, CAPITAL))[0]


async def test_a_hub_that_is_late_is_given_up(hub: HubProcess) -> None:
    """Before the first word, which a long prompt delays, and in the middle of an answer, when its model hangs."""
    before = hub.log().count("turn_stopped")
    long = Prompt(messages=(ChatMessage(role="user", text="word " * 800),))
    async with remote(f"{hub.url}/v1", model=MODEL, api_key=hub.key, first_token_timeout_s=0.2) as model:
        with pytest.raises(ModelError, match=r"gave no first word within 0\.2 s"):
            await ask_remote(model, long)
    await stopped(hub, before + 1)

    async with remote(f"{hub.url}/v1", model=MODEL, api_key=hub.key, stall_timeout_s=0.5) as model:
        events = model.stream(STORY, GenerateOptions(max_tokens=1500))
        assert isinstance(await anext(events), Text)
        with hanging(model_processes(hub)), pytest.raises(ModelError, match=r"fell silent for 0\.5 s"):
            async for _ in events:
                pass
    await stopped(hub, before + 2)


@contextlib.contextmanager
def hanging(pids: list[int]) -> Iterator[None]:
    """Let processes do nothing for as long as the block lasts."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


# -- loading, unloading and fetching -----------------------------------------------------------------------


async def test_a_model_is_loaded_and_unloaded_by_command_and_over_http(hub: HubProcess) -> None:
    """Each waits until it is done and tells what the engine really has: a process that comes and goes."""
    await hub.post("/api/v1/models/load", {"model": MODEL})
    everything = len(model_processes(hub))

    told = await hub.command("models", "unload", MODEL)
    await _has_model_processes(hub, everything - 1)
    _, loaded = await hub.post("/api/v1/models/load", {"model": MODEL})
    await _has_model_processes(hub, everything)
    _, unloaded = await hub.post("/api/v1/models/unload", {"model": MODEL})
    await _has_model_processes(hub, everything - 1)
    again = json.loads(await hub.command("models", "load", MODEL, "--json"))
    await _has_model_processes(hub, everything)

    assert told.startswith(f"{MODEL} is unloaded")
    assert [(one["name"], one["state"]) for one in loaded["models"]] == [(MODEL, "loaded")]
    assert [(one["name"], one["state"]) for one in unloaded["models"]] == [(MODEL, "unloaded")]
    assert (again["name"], again["state"]) == (MODEL, "loaded")
    assert min(again["memory_bytes"], loaded["models"][0]["memory_bytes"]) > 98 << 20


async def test_a_model_is_fetched_over_http_and_loaded(hub: HubProcess, server: ModelHub) -> None:
    """The connection breaks half-way; what came is kept, and the whole is what the server announced."""
    content = server.files[FILE]
    server.breaks = [len(content) // 2]

    status, job = await hub.post("/api/v1/models/provision", {"repo": REPO, "name": "fetched"})
    async with asyncio.timeout(WAIT_S):
        while job["state"] in ("waiting", "running"):
            await asyncio.sleep(0.05)
            _, job = await hub.get(f"/api/v1/models/provision/{job['job']}")
    settings = Settings(_env_file=None, data=hub.data)
    verified = list(verify(settings, ModelRegistry(settings).models, "fetched"))
    _, loaded = await hub.post("/api/v1/models/load", {"model": "fetched"})
    asked = {"model": "fetched", "prompt": "Hello", "raw": True, "max_tokens": 5}
    answered, said = await hub.post("/api/v1/generate", asked)

    assert (status, job["state"], job["model"]) == (202, "done", "fetched"), job
    assert job["done_bytes"] == job["total_bytes"] == len(content)
    assert [wanted != "" for wanted in server.ranges] == [False, True]
    assert [(one.state, one.sha256) for one in verified] == [("ok", hashlib.sha256(content).hexdigest())]
    assert [(one["name"], one["state"]) for one in loaded["models"]] == [("fetched", "loaded")]
    assert (answered, said["model"]) == (200, "fetched"), said


# -- the cache of answers ----------------------------------------------------------------------------------


async def test_a_hundred_clients_look_answers_up(hub: HubProcess) -> None:
    """Hits and misses are the look-ups, and what the clients were told; half of the questions were asked before."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def client(number: int) -> bool:
            body = {
                "model": MODEL,
                "prompt": str(number % 10),
                "raw": True,
                "max_tokens": 1,
                "use_cache": True,
            }
            async with session.post(
                f"{hub.url}/api/v1/generate", json=body, headers={"X-API-Key": hub.key}
            ) as answer:
                assert answer.status == 200, await answer.text()
                is_hit: bool = (await answer.json())["usage"]["from_cache"]
                return is_hit

        first = [await client(number) for number in range(5)]
        told = await asyncio.gather(*(client(number) for number in range(CLIENTS)))

    _, found = await hub.get("/metrics/cache_accounting")
    account, lookups = found["caches"]["answer"], CLIENTS + len(first)
    assert first == [False] * 5
    assert all(is_hit for number, is_hit in enumerate(told) if number % 10 < 5)
    assert account == {
        "lookups": lookups,
        "hits": sum(told),
        "misses": lookups - sum(told),
        "consistent": True,
    }
    assert 10 <= account["misses"] <= 55
