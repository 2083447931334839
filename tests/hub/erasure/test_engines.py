"""Engines hold nothing in memory of somebody who was erased."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.models.base import Requester
from engine.models.manager import ModelManager
from engine.models.opener import ModelOpener
from engine.models.service import ModelService
from hub.bus.connection import connect_reader
from hub.bus.control import Control
from hub.erasure.person import Principal
from hub.logs import LogSettings
from hub.model_registry import ModelRegistry
from hub.model_settings import GgufSettings
from hub.model_states import ModelStates
from hub.settings import Settings
from tests.engine.models.llama.asking import answer, prompt
from tests.hub.erasure.world import ANA, BEN, BOT, GROUP, Member, World

NAMED = Principal(connector="telegram", account=BOT, person=ANA.number)
SAID = "My account number is 4711 and the word for it is marmalade, do not tell anybody about it."


@pytest.fixture
async def models(world: World, data: Path) -> AsyncIterator[ModelManager]:
    """The models of an engine that hears orders: the bundled one, in a process of its own."""
    small = GgufSettings(context_length=512, parallel=3)
    settings = Settings(data=data, models={"small": small}, engine={"model": "small"})
    registry = ModelRegistry(settings)
    manager = ModelManager(registry, ModelOpener(registry, LogSettings()), memory_budget_bytes=1 << 40)
    control, stop = Control(world.redis, connect_reader(world.bus.url)), asyncio.Event()
    service = ModelService(manager, ModelStates(world.redis), control.send)
    control.listen(service.obey)
    control.listen(world.worker().obey)
    hearing = asyncio.create_task(control.run(stop))
    await control.ready.wait()
    yield manager
    stop.set()
    await hearing
    await manager.close()


async def _known_tokens(models: ModelManager, audience: str) -> int:
    """Ask the model for somebody, and return how many tokens of the prompt it knew."""
    async with models.use() as model:
        _, end = await answer(model, prompt(SAID), Requester(audience=audience, returns=True), tokens=1)
        return end.cached_tokens


def _private(who: Member) -> str:
    return f"telegram-{BOT}-{who.number}"


async def test_engines_forget_who_is_erased(world: World, models: ModelManager) -> None:
    """Of the next prompt nothing is known but what everybody shares, and no window is held; others keep theirs."""
    for who in (ANA, BEN):
        await world.answer(who.telegram(), _private(who), f"Where is {who.word}?")
        await world.answer(who.telegram(group=True), f"telegram-{BOT}-{GROUP}", f"What is {who.word}?")
    await _known_tokens(models, _private(ANA))
    shared = await _known_tokens(models, _private(BEN))
    held = world.memory._tiers._held
    assert {_private(ANA), _private(BEN)} <= {conversation for conversation, _ in held}

    await world.eraser().erase(NAMED)

    forgotten, kept = await _known_tokens(models, _private(ANA)), await _known_tokens(models, _private(BEN))
    assert forgotten == shared
    assert kept > shared + 10
    assert {conversation for conversation, _ in held} == {_private(BEN)}
    assert await world.files_hold(words=[_private(ANA)]) == []
