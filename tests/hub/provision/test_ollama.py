"""Models that an Ollama server pulls and runs."""

from pathlib import Path

import pytest

from hub.errors import ProvisionError
from hub.model_registry import ModelRegistry
from hub.model_settings import ProvisionSettings, RemoteSettings
from hub.provision.ollama import OllamaModel, ollama_models, pull_by_ollama
from hub.provision.pull import Progress
from hub.settings import Settings
from tests.emulators.ollama import LAYERS, OllamaServer
from tests.servers.redis import free_port

LLAMA = "llama3.2:1b"
ABOUT = {
    "parameters": 'stop    "<|eot_id|>"',
    "model_info": {"general.architecture": "llama", "llama.context_length": 131072},
}


def _settings(url: str, data: Path) -> Settings:
    return Settings(_env_file=None, data=data, provision=ProvisionSettings(ollama_url=url))


async def test_a_pulled_model_is_a_remote_one_of_the_registry(data: Path) -> None:
    """At the server's OpenAI-compatible address, with the context that it gives a model."""
    async with OllamaServer({LLAMA: ABOUT}) as server:
        settings = _settings(server.url + "/", data)
        steps: list[Progress] = []
        pulled = await pull_by_ollama(settings, LLAMA, steps.append)

        assert ModelRegistry(settings).settings_of(LLAMA) == RemoteSettings(
            type="remote", base_urls=(f"{server.url}/v1",), model=LLAMA, context_length=4096
        )
    whole = sum(LAYERS.values())
    assert (pulled.name, pulled.location, pulled.size_bytes) == (LLAMA, f"{server.url}/v1", whole)
    assert steps[-1] == Progress(file="success", done_bytes=whole, total_bytes=whole)
    assert [step.done_bytes for step in steps] == sorted(step.done_bytes for step in steps)


@pytest.mark.parametrize(
    ("about", "tokens"),
    [
        (
            {
                "parameters": "num_ctx                        8192\nstop  x",
                "model_info": {"llama.context_length": 131072},
            },
            8192,
        ),
        ({"model_info": {"qwen2.context_length": 2048}}, 2048),
        ({"model_info": None, "parameters": None}, 4096),
    ],
)
async def test_the_context_is_what_the_server_gives(
    data: Path, about: dict[str, object], tokens: int
) -> None:
    """Its own setting, else the smaller one of the model's and Ollama's default."""
    async with OllamaServer({LLAMA: about}) as server:
        settings = _settings(server.url, data)
        await pull_by_ollama(settings, LLAMA, name="small")

    assert ModelRegistry(settings).settings_of("small").context_length == tokens


async def test_the_models_of_a_server_are_listed(data: Path) -> None:
    """With what is known of them."""
    async with OllamaServer({LLAMA: ABOUT}) as server:
        settings = _settings(server.url, data)
        assert await ollama_models(settings) == []
        await pull_by_ollama(settings, LLAMA)
        listed = await ollama_models(settings)

    assert listed == [
        OllamaModel(name=LLAMA, size_bytes=sum(LAYERS.values()), quantization="Q8_0", parameters="1.2B")
    ]


async def test_a_model_that_the_library_lacks_is_told(data: Path) -> None:
    """In Ollama's words; and the registry stays as it is."""
    async with OllamaServer({}) as server:
        settings = _settings(server.url, data)
        with pytest.raises(ProvisionError, match="pull model manifest: file does not exist"):
            await pull_by_ollama(settings, "nothing")

    assert not settings.models_path.exists()


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([b'{"status": "pulling manifest"}\n'], "in the middle"),
        ([], "in the middle"),
        ([b"<html>\n"], "is no Ollama server"),
        ([b"[1]\n"], "is no Ollama server"),
        ([b'{"status": "' + b"a" * 3_000_000], "a line without end"),
        ([b'{"error": "disk\\u001b[31m full"}'], "disk .31m full"),
    ],
)
async def test_a_server_that_is_none_is_told(data: Path, lines: list[bytes], text: str) -> None:
    """Whatever it sends."""
    async with OllamaServer({LLAMA: ABOUT}) as server:
        server.lines = lines
        with pytest.raises(ProvisionError, match=text):
            await pull_by_ollama(_settings(server.url, data), LLAMA)


async def test_a_server_that_is_away_is_told_with_the_setting(data: Path) -> None:
    """So that whoever reads it knows where to look."""
    with pytest.raises(ProvisionError, match=r"Does it run\? provision\.ollama_url says where"):
        await pull_by_ollama(_settings(f"http://127.0.0.1:{free_port()}", data), LLAMA)


@pytest.mark.parametrize("model", ["", "../x", "a b", "-x", "a:b:c", "x\n", "a" * 300])
async def test_names_that_ollama_has_not_are_refused(data: Path, model: str) -> None:
    """Before the server is asked."""
    async with OllamaServer({LLAMA: ABOUT}) as server:
        with pytest.raises(ProvisionError):
            await pull_by_ollama(_settings(server.url, data), model)

    assert not server.asked
