"""The services of docker-compose.yml that are the hub's own, as processes of this machine instead of containers."""

import asyncio
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from tests.hub_process import HubProcess
from tests.settings_tree import ROOT

GRACE_S = 40
"""What `stop_grace_period` gives a container before it is killed."""
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


class Composed:
    """One process per service, with the roles and the environment that Compose would give it.

    Args:
        hub: whose data folder and environment they share; `settings.toml` lies beside the folder.
        dotenv: what stands in `.env`.
        here: what differs because no container is around them, such as the port to listen on.
    """

    def __init__(self, hub: HubProcess, dotenv: Mapping[str, str], here: Mapping[str, str]) -> None:
        self._hub = hub
        self._dotenv, self._here = dotenv, here
        services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))[
            "services"
        ]
        self._services = {
            name: service
            for name, service in services.items()
            if service.get("image", "").startswith("hubbub:")
        }
        assert {service["stop_grace_period"] for service in self._services.values()} == {f"{GRACE_S}s"}
        self._running: dict[str, asyncio.subprocess.Process] = {}

    @property
    def names(self) -> list[str]:
        """The services, in the order of the file."""
        return list(self._services)

    def log(self, name: str) -> str:
        """Return what the processes of a service have said."""
        return self._log(name).read_text("utf-8", "replace")

    async def start(self, name: str) -> None:
        """Start a service."""
        service = self._services[name]
        program, *words = service["command"]
        assert program == "hubbub", service["command"]
        given = {
            key: _VARIABLE.sub(lambda found: self._dotenv.get(found[1]) or found[2], value)
            for key, value in service["environment"].items()
        }
        with self._log(name).open("ab") as log:
            self._running[name] = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "hub", *words),
                env={**self._hub.environment, **given, **self._here},
                cwd=self._hub.data.parent,
                stdout=log,
                stderr=log,
            )

    async def stop(self, name: str) -> None:
        """End a service as Docker does; it has to end by itself, and well."""
        process = self._running.pop(name)
        assert process.returncode is None, f"{name} ended by itself:\n{self.log(name)[-3000:]}"
        process.terminate()
        try:
            async with asyncio.timeout(GRACE_S):
                code = await process.wait()
        except TimeoutError:
            process.kill()
            raise AssertionError(f"{name} did not end in time:\n{self.log(name)[-3000:]}") from None
        assert code == 0, self.log(name)[-3000:]

    async def __aenter__(self) -> Self:
        for name in self._services:
            await self.start(name)
        return self

    async def __aexit__(self, *error: object) -> None:
        try:
            for name in [] if error[0] else list(self._running):
                await self.stop(name)
        finally:
            for process in self._running.values():
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    def _log(self, name: str) -> Path:
        return self._hub.data.parent / f"{name}.log"
