"""Models of a running hub: killed, missing, fetched meanwhile, chosen by a person; the hub goes on."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import psutil
import pytest
import pytest_asyncio

from engine.models.llama.files import bundled_file
from engine.replies import MODEL_UNAVAILABLE
from tests.hub_process import HubProcess

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

WAIT_S = 120
TOLD, ASKED = "My name is Omdeep.", "What is my name?"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HubProcess]:
    """A hub whose own model is not there yet."""
    data = tmp_path_factory.mktemp("hub") / "data"
    data.mkdir()
    register(data, "late")
    async with HubProcess(data, {"HUBBUB_ENGINE__MODEL": "late"}) as hub:
        yield hub


def register(data: Path, *names: str) -> None:
    """Write a models.json with these models, each in a file of its name."""
    entries = {name: {"path": f"{name}.gguf", "profile": "smollm2"} for name in names}
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
