"""The manager with the bundled model: memory as it is measured, one set of weights for several, a kill under way."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.models.base import ChatMessage, End, GenerateOptions, Prompt, Text
from engine.models.manager import ModelManager
from engine.models.memory import estimated_bytes
from engine.models.opener import ModelOpener
from hub.errors import ModelError
from hub.logs import LogSettings
from hub.model_registry import ModelRegistry
from hub.model_settings import BUNDLED_MODEL, GgufSettings, ModelSettings
from hub.settings import Settings
from tests.engine.models.managed import MIB, WAIT_S
from tests.gguf_vocabulary import write_vocabulary
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


async def test_real_models_take_turns_in_the_memory_there_is(data: Path, tmp_path: Path) -> None:
    """The one that was used the longest ago goes, and whoever it is answering has the whole answer first."""
    large = GgufSettings(context_length=512, parallel=1, profile="smollm2")
    models = {BUNDLED_MODEL: large}
    for seed, name in enumerate(("one", "two")):
        file = write_vocabulary(tmp_path / f"{name}.gguf", weights_seed=seed)
        models[name] = GgufSettings(path=str(file), context_length=256, parallel=1)
    async with real(data, models) as manager:
        said = {name: await answer(manager, name) for name in ("one", "two")}
        small_bytes = manager.slots.current["one"].memory_bytes

    # For the large one and one of the small ones, not for both.
    room = estimated_bytes(BUNDLED_MODEL, large) + small_bytes * 3 // 2
    async with real(data, models, budget_bytes=room) as manager:
        assert [await answer(manager, name) for name in ("two", "one")] == [said["two"], said["one"]]
        assert set(manager.slots.current) == {"one", "two"}

        assert await answer(manager, BUNDLED_MODEL)
        assert set(manager.slots.current) == {"one", BUNDLED_MODEL}

        async with manager.use("one") as one, manager.use(BUNDLED_MODEL) as bundled:
            turns = [
                model.stream(PROMPT, GenerateOptions(max_tokens=12, ignore_end=True))
                for model in (one, bundled)
            ]
            for turn in turns:
                assert isinstance(await anext(turn), Text)
            other = asyncio.create_task(answer(manager, "two"))
            while {"one", BUNDLED_MODEL} <= set(manager.slots.current):
                await asyncio.sleep(0)
            ends = [[event async for event in turn][-1] for turn in turns]

        assert [end.answer_tokens for end in ends if isinstance(end, End)] == [12, 12]
        assert await other == said["two"]
