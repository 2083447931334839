"""A manager of models without weights, each in a process of its own as the engine has them."""

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from engine.models.base import ChatMessage, ChatModel, GenerateOptions, Prompt
from engine.models.manager import ModelManager
from engine.models.opener import ModelOpener
from hub.logs import LogSettings
from hub.model_registry import ModelRegistry
from hub.model_settings import BUNDLED_MODEL, GgufSettings, ModelSettings
from hub.settings import EngineSettings, Settings
from tests.echo_host import COMMAND, TYPES
from tests.models import said_by

WAIT_S = 120
"""How long something that takes a second may take on a busy machine."""
MIB = 1 << 20
LARGE = 600 * MIB
ROOM_FOR_ONE = LARGE + (256 + 16) * MIB
"""What a model of this size is estimated with, and less than the smallest process beside it."""


def model_file(folder: Path, name: str, *, size_bytes: int = 0, content: bytes = b"model") -> GgufSettings:
    """Write a model file that takes room in the estimate only."""
    path = folder / f"{name}.gguf"
    path.write_bytes(content)
    if size_bytes:
        os.truncate(path, size_bytes)
    return GgufSettings(path=str(path))


class CountingOpener(ModelOpener):
    """Counts what it opens."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.opened: list[str] = []

    async def open(self, name: str, settings: ModelSettings, limit_bytes: int) -> Any:
        """Open a model."""
        self.opened.append(name)
        return await super().open(name, settings, limit_bytes)


class Managed:
    """A manager, and what a test wants of it."""

    def __init__(self, folder: Path, files: Mapping[str, ModelSettings], *, budget_bytes: int) -> None:
        self.settings = Settings(
            _env_file=None,
            data=folder,
            models=dict(files),
            engine=EngineSettings(model=next(iter(files), BUNDLED_MODEL)),
        )
        self.registry = ModelRegistry(self.settings)
        self.opener = CountingOpener(self.registry, LogSettings(), types=TYPES, command=COMMAND)
        self.manager = ModelManager(self.registry, self.opener, memory_budget_bytes=budget_bytes)

    def loaded(self) -> list[str]:
        """Return the names of the models that new requests find loaded."""
        return sorted(name for name, slot in self.manager.slots.current.items() if slot.is_loaded)

    def pid(self, name: str) -> int:
        """Return the process of a loaded model."""
        return self.manager.slots.current[name].process_id

    async def ask(self, name: str, text: str = "hello") -> str:
        """Use a model for one answer."""
        async with self.manager.use(name) as model:
            return await say(model, text)


@contextlib.asynccontextmanager
async def managed(
    folder: Path, files: Mapping[str, ModelSettings], *, budget_bytes: int = 1 << 40
) -> AsyncIterator[Managed]:
    """Manage models until the block ends; then none of their processes is left."""
    made = Managed(folder, files, budget_bytes=budget_bytes)
    try:
        yield made
    finally:
        await made.manager.close()


async def say(model: ChatModel, text: str) -> str:
    """Return the whole answer to a message."""
    prompt = Prompt(messages=(ChatMessage(role="user", text=text),))
    return await said_by(model.stream(prompt, GenerateOptions(max_tokens=100)))
