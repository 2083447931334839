"""The whole hub as a user starts it: `hubbub up` in a process of its own, on its own data folder and port."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp

from tests.servers.redis import free_port

START_TIMEOUT_S = 90.0
OF_TESTERS = ("HUBBUB_", "HF_ENDPOINT", "HF_TOKEN")
"""Variables of whoever runs the tests that a hub would read."""


class HubProcess:
    """Starts, stops and talks to one hub."""

    def __init__(
        self,
        data: Path,
        settings: Mapping[str, str] | None = None,
        *,
        folder: Path | None = None,
        scopes: Sequence[str] = (),
    ) -> None:
        """Prepare a hub.

        Args:
            folder: where it is started, the project's own otherwise.
            scopes: what its key may do beside asking.
        """
        self.data = data
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = ""
        """An API key of tier `own`, made at the first start."""
        self.settings = dict(settings or {})
        """Environment variables; what is changed holds from the next start on."""
        self._folder = folder
        self._scopes = [word for scope in scopes for word in ("--scope", scope)]
        self._log = data.parent / "hub.log"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Environment of every command on this hub's folder: no settings but the test's own."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(OF_TESTERS)}
        own = {"HUBBUB_DATA": str(self.data), "HUBBUB_API__PORT": str(self.port)}
        return {**clean, **own, **self.settings}

    async def start(self) -> Self:
        """Start it and wait until its engine answers."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "hub", "up", "--data", str(self.data)),
                env=self.environment,
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(START_TIMEOUT_S):
            while not await self._is_ready():
                if self._process.returncode is not None:
                    raise RuntimeError(f"the hub ended:\n{self.log()[-4000:]}")
                await asyncio.sleep(0.1)
        if not self.key:
            self.key = (await self.command("keys", "create", "--tier", "own", *self._scopes)).strip()
        return self

    async def _is_ready(self) -> bool:
        try:
            async with aiohttp.ClientSession() as client, client.get(f"{self.url}/health") as answer:
                return bool((await answer.json()).get("status") == "ok")
        except (aiohttp.ClientError, OSError):
            return False

    @property
    def pid(self) -> int:
        """Number of the supervisor's process."""
        assert self._process
        return self._process.pid

    def log(self) -> str:
        """Return what it has logged."""
        return self._log.read_text("utf-8", "replace")

    async def stop(self) -> int:
        """End it the polite way and return its exit code."""
        assert self._process
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(60):
                await self._process.wait()
        return int(self._process.returncode or 0)

    async def kill(self) -> None:
        """End it the hard way, its supervisor alone: the children are on their own."""
        assert self._process
        self._process.kill()
        await self._process.wait()
        async with asyncio.timeout(60):
            # They notice by themselves; until then they would pass for the next hub.
            while await self._is_ready():
                await asyncio.sleep(0.05)

    async def command(self, *words: str, code: int = 0) -> str:
        """Run `hubbub` with these words on the same folder and return what it prints."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hub", *words),
            env=self.environment,
            cwd=self._folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(120):
            out, err = await process.communicate()
        assert process.returncode == code, err.decode()
        return out.decode()

    async def post(self, path: str, body: Mapping[str, Any], *, key: str = "") -> tuple[int, Any]:
        """POST JSON with the hub's key and return status and answer."""
        headers = {"X-API-Key": key or self.key}
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"{self.url}{path}", json=body, headers=headers) as answer,
        ):
            return answer.status, await answer.json()

    async def get(self, path: str, *, key: str = "", **query: str) -> tuple[int, Any]:
        """GET with the hub's key and return status and answer."""
        headers = {"X-API-Key": key or self.key}
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"{self.url}{path}", params=query, headers=headers) as answer,
        ):
            return answer.status, await answer.json()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *error: object) -> None:
        await self.stop()
