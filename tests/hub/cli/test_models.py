"""Models from the terminal."""

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import sys
import termios
from pathlib import Path

from tests.emulators.model_hub import REPO, ModelHub
from tests.emulators.ollama import OllamaServer
from tests.hub.provision.fetching import content
from tests.hub_process import HubProcess

FILE = "small-Q4_K_M.gguf"


class Terminal:
    """A terminal that a command writes to; it is 200 columns wide."""

    def __init__(self) -> None:
        self._ours, self.theirs = pty.openpty()
        termios.tcsetwinsize(self.theirs, (50, 200))
        os.set_blocking(self._ours, False)
        self.shown = ""

    def read(self) -> str:
        """Return all that was written so far."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._ours, 1 << 16):
                self.shown += data.decode("utf-8", "replace")
        return self.shown

    def close(self) -> None:
        """Take it away."""
        os.close(self._ours)
        os.close(self.theirs)


def done_kb(shown: str) -> list[float]:
    """Read how far a bar says that it is."""
    return [float(number) for number in re.findall(r"([\d.]+)/300\.0 kB", shown)]


def _hub(data: Path, server: ModelHub) -> HubProcess:
    settings = {"HUBBUB_PROVISION__ENDPOINT": server.endpoint, "COLUMNS": "200"}
    # Where it sends for the bytes of large files.
    return HubProcess(data, settings | {"HUBBUB_EGRESS__ALLOW": '["localhost"]'})


async def test_a_model_is_pulled_listed_and_verified(data: Path) -> None:
    """Each command speaks to people and to machines; a damaged file ends in exit code 1."""
    async with ModelHub({FILE: content()}) as server:
        hub = _hub(data, server)
        pulled = json.loads(await hub.command("models", "pull", f"{REPO}:Q4_K_M", "--name", "chat", "--json"))
        again = await hub.command("models", "pull", REPO, "--name", "chat")
        listed = json.loads(await hub.command("models", "list", "--json"))
        table = await hub.command("models", "list")
        verified = await hub.command("models", "verify")
        (data / "models" / REPO / FILE).write_bytes(b"other")
        damaged = json.loads(await hub.command("models", "verify", "chat", "--json", code=1))

    assert (pulled["name"], pulled["type"], pulled["size_bytes"]) == ("chat", "gguf", 300_000)
    assert 'model = "chat"' in again
    chat, bundled = listed
    assert (chat["name"], chat["source"], chat["size_bytes"], chat["state"]) == ("chat", REPO, 300_000, "")
    assert (bundled["name"], bundled["source"], bundled["roles"]) == (
        "smollm2-135m",
        "install",
        ["general", "coding"],
    )
    assert REPO in table
    assert "ok" in verified
    assert [one["state"] for one in damaged] == ["changed"]


async def test_a_mirror_that_sends_elsewhere_is_not_followed(data: Path) -> None:
    """Until a setting allows that place, which the refusal names."""
    async with ModelHub({FILE: content()}) as server:
        hub = HubProcess(data, {"HUBBUB_PROVISION__ENDPOINT": server.endpoint})
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hub", "models", "pull", REPO),
            env=hub.environment,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            _, told = await process.communicate()

    assert process.returncode == 1
    port = server.endpoint.rpartition(":")[2]
    assert f'127.0.0.1 sends elsewhere for it: no setting allows a connection to localhost:{port}; if it is meant to be, add "localhost:{port}" to egress.allow' in told.decode()  # fmt: skip


async def test_an_interrupted_pull_goes_on(data: Path) -> None:
    """A terminal shows how far it is; Ctrl-C leaves a message, exit code 130, and what has come."""
    async with ModelHub({FILE: content()}) as server:
        server.gate = asyncio.Event()
        # The variable that other programs of this kind read.
        hub = HubProcess(
            data,
            {
                "HF_ENDPOINT": server.endpoint,
                "HUBBUB_EGRESS__ALLOW": '["localhost"]',
                "TERM": "xterm-256color",
            },
        )
        terminal = Terminal()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hub", "models", "pull", REPO),
            env=hub.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=terminal.theirs,
            # A shell that runs the tests in the background has them ignore SIGINT, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        async with asyncio.timeout(60):
            await server.is_waiting.wait()
            parts = data / "models" / REPO
            while not any(part.stat().st_size for part in parts.glob(".*.part")):
                await asyncio.sleep(0.01)
            while not any(done_kb(shown := terminal.read())):
                await asyncio.sleep(0.01)
            process.send_signal(signal.SIGINT)
            await process.wait()
        err = terminal.read()[len(shown) :]
        terminal.close()
        server.gate.set()
        await hub.command("models", "pull", REPO)

    assert FILE in shown
    assert "━" in shown
    assert 0 < done_kb(shown)[-1] <= 150
    assert process.returncode == 130
    assert "goes on from there" in err
    assert "Traceback" not in err
    assert int(server.ranges[-1].removeprefix("bytes=").removesuffix("-")) > 0
    assert (parts / FILE).read_bytes() == content()


async def test_ollamas_models_are_pulled_and_listed(data: Path) -> None:
    """By the server of the settings."""
    async with OllamaServer({"llama3.2:1b": {}}) as server:
        hub = HubProcess(data, {"HUBBUB_PROVISION__OLLAMA_URL": server.url})
        await hub.command("models", "pull", "llama3.2:1b", "--ollama", "--name", "llama")
        theirs = json.loads(await hub.command("models", "list", "--ollama", "--json"))
        ours = json.loads(await hub.command("models", "list", "--json"))

    assert [model["name"] for model in theirs] == ["llama3.2:1b"]
    assert (ours[0]["name"], ours[0]["type"], ours[0]["location"]) == ("llama", "remote", f"{server.url}/v1")


async def test_what_cannot_be_done_is_said_in_a_sentence(data: Path) -> None:
    """Exit code 1, or 2 where the settings are the reason."""
    async with ModelHub({"model.ckpt": b""}) as server:
        hub = _hub(data, server)
        await hub.command("models", "pull", REPO, code=1)
        await hub.command("models", "pull", "../x", code=1)
        await hub.command("models", "verify", "nobody", code=1)
        await hub.command("models", "load", "nobody", code=1)
        await hub.command("models", "load", "smollm2-135m", code=2)
