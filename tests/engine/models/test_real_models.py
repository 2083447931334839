"""The manager with the bundled model: memory as it is measured, one set of weights for several, a kill under way."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.models.base import ChatMessage, GenerateOptions, Prompt
from engine.models.manager import ModelManager
from engine.models.opener import ModelOpener
from hub.errors import ModelError
from hub.logs import LogSettings
from hub.model_registry import ModelRegistry
from hub.model_settings import BUNDLED_MODEL, GgufSettings, ModelSettings
from hub.settings import Settings
from tests.engine.models.managed import MIB, WAIT_S
from tests.models import said_by

PROMPT = Prompt(messages=(ChatMessage(role="user", text="Count from one to ninety."),))


@asynccontextmanager
async def real(
    folder: Path, models: Mapping[str, ModelSettings] | None = None, *, budget_bytes: int = 1 << 40
) -> AsyncIterator[ModelManager]:
    """Manage the bundled model and others."""
    registry = ModelRegistry(Settings(_env_file=None, data=folder, models=dict(models or {})))
    manager = ModelManager(registry, ModelOpener(registry, LogSettings()), memory_budget_bytes=budget_bytes)
    try:
        async with asyncio.timeout(WAIT_S):
            yield manager
    finally:
        await manager.close()


async def answer(manager: ModelManager, name: str = "", *, max_tokens: int = 8) -> str:
    """Let a model answer."""
    async with manager.use(name) as model:
        return await said_by(model.stream(PROMPT, GenerateOptions(max_tokens=max_tokens)))


async def test_a_small_budget_is_kept_by_fewer_answers_at_once(data: Path) -> None:
    """A model is planned for the memory it may take."""
    async with real(data, budget_bytes=512 * MIB) as manager:
        assert await answer(manager)

        assert 98 * MIB < manager.slots.used_bytes() < 512 * MIB


async def test_models_on_one_base_share_its_weights(data: Path) -> None:
    """The second costs a context and no second set of weights; it goes on when the first is unloaded."""
    base = GgufSettings(context_length=256, parallel=1, profile="smollm2")
    second = base.model_copy(update={"base": BUNDLED_MODEL})
    async with real(data, {BUNDLED_MODEL: base, "second": second}) as manager:
        first = await answer(manager)
        before = manager.slots.used_bytes()

        assert await answer(manager, "second") == first

        await manager.slots.current["second"].measure()
        assert manager.slots.used_bytes() - before < 60 * MIB
        closing = manager.unload(BUNDLED_MODEL)
        assert closing
        await closing
        assert await answer(manager, "second") == first


async def test_a_kill_under_way_fails_the_answers_and_the_next_use_works(data: Path) -> None:
    """Four answers are being computed when the process is killed."""
    async with real(data) as manager:
        expected = await answer(manager)
        asking = [asyncio.create_task(answer(manager, max_tokens=400)) for _ in range(4)]
        while (await manager.slots.current[BUNDLED_MODEL].model.statistics()).running < 4:
            await asyncio.sleep(0.01)

        os.kill(manager.slots.current[BUNDLED_MODEL].process_id, signal.SIGKILL)

        for task in asking:
            with pytest.raises(ModelError, match="SIGKILL"):
                await task
        assert await answer(manager) == expected
