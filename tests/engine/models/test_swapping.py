"""Replacing models under way: whoever asks is answered, by the old one or the new one."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from engine.models.keeper import ModelKeeper
from hub.errors import ModelUnavailable
from tests.engine.models.managed import LARGE, ROOM_FOR_ONE, WAIT_S, Managed, managed, model_file, say


def length_of(said: str) -> int:
    """Read the context length out of what "who" is answered with."""
    return int(said.split("/")[1])


async def test_new_requests_go_to_the_new_model_and_running_ones_end_at_the_old(tmp_path: Path) -> None:
    """The old one is closed when its last answer has ended."""
    file = model_file(tmp_path, "a")
    async with asyncio.timeout(WAIT_S), managed(tmp_path, {"a": file}) as made:
        async with made.manager.use("a") as old:
            await made.manager.swap("a", file.model_copy(update={"context_length": 1000}))

            assert length_of(await made.ask("a", "who")) == 1000
            assert length_of(await say(old, "who")) == 2048
            assert len(made.manager.slots.closing) == 1
        await asyncio.gather(*made.manager.slots.closing.values())

        assert length_of(await made.ask("a", "who")) == 1000


async def test_no_turn_fails_while_a_model_is_replaced_again_and_again(tmp_path: Path) -> None:
    """Four people talk, the model is replaced twenty times, every answer comes."""
    file = model_file(tmp_path, "a")
    is_over = False
    seen: set[int] = set()

    async def talk(made: Managed) -> int:
        turns = 0
        while not is_over:
            seen.add(length_of(await made.ask("a", "who")))
            turns += 1
        return turns

    async with asyncio.timeout(WAIT_S), managed(tmp_path, {"a": file}) as made:
        await made.ask("a")
        people = [asyncio.create_task(talk(made)) for _ in range(4)]
        for number in range(20):
            await made.manager.swap("a", file.model_copy(update={"context_length": 1000 + number}))
        is_over = True
        turns = await asyncio.gather(*people)

        assert min(turns) > 0
        assert len(seen) > 10
        await asyncio.gather(*made.manager.slots.closing.values())
        assert length_of(await made.ask("a", "who")) == 1019


async def test_without_memory_for_both_the_old_one_goes_first(tmp_path: Path) -> None:
    """Those who ask meanwhile wait; nobody fails."""
    file = model_file(tmp_path, "a", size_bytes=LARGE)
    async with asyncio.timeout(WAIT_S), managed(tmp_path, {"a": file}, budget_bytes=ROOM_FOR_ONE) as made:
        async with made.manager.use("a") as old:
            other = model_file(tmp_path, "other", size_bytes=LARGE)
            swapping = asyncio.create_task(
                made.manager.swap("a", other.model_copy(update={"context_length": 1000}))
            )
            while "a" in made.manager.slots.current:
                await asyncio.sleep(0)
            asking = asyncio.create_task(made.ask("a", "who"))
            assert length_of(await say(old, "who")) == 2048
        await swapping

        assert length_of(await asking) == 1000
        assert len(made.opener.opened) == 2


async def test_a_new_model_that_cannot_be_loaded_leaves_the_old_one(tmp_path: Path) -> None:
    """The operator is told, and those who talk notice nothing."""
    file = model_file(tmp_path, "a")
    async with asyncio.timeout(WAIT_S), managed(tmp_path, {"a": file}) as made:
        await made.ask("a")

        with pytest.raises(ModelUnavailable, match="a is broken"):
            await made.manager.swap("a", model_file(tmp_path, "worse", content=b"broken"))

        assert length_of(await made.ask("a", "who")) == 2048
        assert "broken" in made.manager.failures.error_of("a")


async def test_a_model_that_is_not_loaded_is_not_loaded_by_a_swap(tmp_path: Path) -> None:
    """It will have its new settings when somebody asks."""
    file = model_file(tmp_path, "a")
    async with asyncio.timeout(WAIT_S), managed(tmp_path, {"a": file}) as made:
        await made.manager.swap("a", file.model_copy(update={"context_length": 1000}))

        assert made.opener.opened == []
        assert length_of(await made.ask("a", "who")) == 1000


# -- the keeper --------------------------------------------------------------------------------------------


async def looked(made: Managed, *, idle_unload_s: float = 0, answer_s: float = 60) -> None:
    """Let a keeper look, and wait for what it begins."""
    keeper = ModelKeeper(made.manager, idle_unload_s=idle_unload_s, answer_s=answer_s)
    await keeper.look()
    await keeper.settle()


async def test_a_changed_entry_is_swapped_in(tmp_path: Path) -> None:
    """An entry of models.json with another context."""
    entry = '{"models": {"b": {"path": "b.gguf", "context_length": %d}}}'
    (tmp_path / "models.json").write_text(entry % 512)
    model_file(tmp_path, "b")
    async with asyncio.timeout(WAIT_S), managed(tmp_path, {"a": model_file(tmp_path, "a")}) as made:
        await made.ask("b")
        await looked(made)
        assert made.opener.opened == ["b"]

        (tmp_path / "models.json").write_text(entry % 1024)
        await looked(made)

        assert length_of(await made.ask("b", "who")) == 1024
        assert made.opener.opened == ["b", "b"]


async def test_a_changed_file_is_swapped_in(tmp_path: Path) -> None:
    """As when a newer version was pulled under the same name; a broken one is tried once for a while."""
    async with asyncio.timeout(WAIT_S), managed(tmp_path, {"a": model_file(tmp_path, "a")}) as made:
        old = await made.ask("a", "who")
        model_file(tmp_path, "a", content=b"broken")
        with capture_logs() as logs:
            await looked(made)
            await looked(made)
        assert [log["event"] for log in logs] == ["model_load_failed", "model_not_swapped"]
        assert await made.ask("a", "who") == old

        model_file(tmp_path, "a", content=b"newer")
        await looked(made)

        assert await made.ask("a", "who") != old


async def test_a_removed_entry_is_unloaded(tmp_path: Path) -> None:
    """Who has it still keeps it to the end."""
    (tmp_path / "models.json").write_text('{"models": {"b": {"path": "b.gguf"}}}')
    model_file(tmp_path, "b")
    async with asyncio.timeout(WAIT_S), managed(tmp_path, {"a": model_file(tmp_path, "a")}) as made:
        async with made.manager.use("b") as model:
            (tmp_path / "models.json").unlink()
            await looked(made)

            assert await say(model, "to the end") == "to the end"
        await asyncio.gather(*made.manager.slots.closing.values())
        assert made.loaded() == []


async def test_what_nobody_uses_is_unloaded_after_a_while(tmp_path: Path) -> None:
    """Only with the setting, and not while somebody uses it."""
    async with asyncio.timeout(WAIT_S), managed(tmp_path, {"a": model_file(tmp_path, "a")}) as made:
        async with made.manager.use("a"):
            await looked(made, idle_unload_s=0.001)
            assert made.loaded() == ["a"]
        await looked(made)
        assert made.loaded() == ["a"]

        while made.loaded():
            await looked(made, idle_unload_s=0.001)


async def test_a_model_that_does_not_answer_is_ended_and_loaded_again(tmp_path: Path) -> None:
    """A process that hangs holds up its own requests only, and not for ever."""
    async with asyncio.timeout(WAIT_S), managed(tmp_path, {"a": model_file(tmp_path, "a")}) as made:
        await made.ask("a")
        os.kill(made.pid("a"), signal.SIGSTOP)
        asking = asyncio.create_task(made.ask("a"))

        await looked(made, answer_s=0.5)

        result = (await asyncio.gather(asking, return_exceptions=True))[0]
        assert "SIGKILL" in str(result)
        assert await made.ask("a") == "hello"


async def test_a_keeper_runs_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """And measures meanwhile what the models take."""
    async with asyncio.timeout(WAIT_S), managed(tmp_path, {"a": model_file(tmp_path, "a")}) as made:
        await made.ask("a")
        slot = made.manager.slots.current["a"]
        slot.memory_bytes = 1
        stop = asyncio.Event()
        running = asyncio.create_task(ModelKeeper(made.manager, idle_unload_s=0).run(stop))
        while slot.memory_bytes == 1:
            await asyncio.sleep(0.001)

        stop.set()
        await running
