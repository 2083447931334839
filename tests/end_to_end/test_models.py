"""Models that other servers run, end to end: fetched, loaded, answered by, and passed over where they are away."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from engine.models.base import ChatMessage, Prompt
from tests.emulators.model_hub import REPO, ModelHub
from tests.engine.models.remote.asking import ask, remote
from tests.hub_process import HubProcess
from tests.servers.llama_server import MODEL, LlamaServer, bundled_gguf
from tests.servers.redis import free_port

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

CAPITAL = Prompt(messages=(ChatMessage(role="user", text="What is the capital of France?"),))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model_hub() -> AsyncIterator[ModelHub]:
    """Where models are fetched from: the bundled one under another name."""
    async with ModelHub({"small-Q4_1.gguf": bundled_gguf().read_bytes()}) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(
    tmp_path_factory: pytest.TempPathFactory, llama_server: LlamaServer, model_hub: ModelHub
) -> AsyncIterator[HubProcess]:
    """A hub whose model runs on another server, and one that is away with a fallback."""
    data: Path = tmp_path_factory.mktemp("models") / "data"
    far = {
        "type": "remote",
        "base_urls": [llama_server.base_url],
        "model": MODEL,
        "api_key": llama_server.api_key,
    }
    away = far | {"base_urls": [f"http://127.0.0.1:{free_port()}/v1"], "fallbacks": ["far"]}
    settings = {
        "HUBBUB_MODELS": json.dumps({"far": far, "away": away}),
        "HUBBUB_ENGINE__MODEL": "far",
        "HUBBUB_PROVISION__ENDPOINT": model_hub.endpoint,
    }
    async with HubProcess(data, settings) as hub:
        yield hub


async def _states(hub: HubProcess) -> dict[str, str]:
    return {row["name"]: row["state"] for row in json.loads(await hub.command("models", "list", "--json"))}


async def test_models_are_loaded_and_unloaded_by_command(hub: HubProcess) -> None:
    """The running hub does it, and the list shows it."""
    loaded = json.loads(await hub.command("models", "load", "smollm2-135m", "--json"))
    unloaded = await hub.command("models", "unload", "smollm2-135m")

    assert (loaded["state"], loaded["name"]) == ("loaded", "smollm2-135m")
    assert loaded["memory_bytes"] > 50_000_000
    assert unloaded == "smollm2-135m is unloaded.\n"
    assert set(await _states(hub)) == {"far", "away", "smollm2-135m"}


async def test_the_hub_answers_by_a_model_of_another_server(hub: HubProcess) -> None:
    """Asked as another hub would ask it, by the same protocol."""
    async with remote(f"{hub.url}/v1", model="far", api_key=hub.key) as model:
        text, end = await ask(model, CAPITAL)

    assert "Paris" in text
    assert end.reason == "stop"
    assert end.prompt_tokens > 0


async def test_the_next_model_answers_where_one_is_away(hub: HubProcess) -> None:
    """And the log says so."""
    async with remote(f"{hub.url}/v1", model="away", api_key=hub.key) as model:
        text, _ = await ask(model, CAPITAL)

    assert "Paris" in text
    assert "model_fallen_back" in hub.log()


async def test_a_hub_is_a_remote_model_of_another(hub: HubProcess) -> None:
    """Its own model counts the tokens, and tells them."""
    async with remote(f"{hub.url}/v1", model="smollm2-135m", api_key=hub.key) as model:
        text, end = await ask(model, CAPITAL)

    assert "Paris" in text
    assert 0 < end.answer_tokens <= 20
    assert end.prompt_tokens < model.count_tokens(CAPITAL.messages) * 3


async def test_a_model_that_was_fetched_answers_at_once(hub: HubProcess) -> None:
    """Fetched by the running hub in the background, and usable without a restart."""
    key = (await hub.command("keys", "create", "--tier", "own", "--scope", "models")).strip()
    status, job = await hub.post("/api/v1/models/provision", {"repo": REPO, "name": "fetched"}, key=key)
    assert status == 202
    async with asyncio.timeout(120):
        while job["state"] in {"waiting", "running"}:
            await asyncio.sleep(0.1)
            _, job = await hub.get(f"/api/v1/models/provision/{job['job']}", key=key)
    verified = json.loads(await hub.command("models", "verify", "fetched", "--json"))

    async with remote(f"{hub.url}/v1", model="fetched", api_key=hub.key) as model:
        text, _ = await ask(model, CAPITAL)

    assert (job["state"], job["model"]) == ("done", "fetched")
    assert [one["state"] for one in verified] == ["ok"]
    assert text
