"""The manager: loaded once, at the first use, within the memory; a model that fails is told and left alone a while."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hub.errors import ModelError, ModelUnavailable, UnknownModel
from hub.model_settings import GgufSettings
from tests.engine.models.managed import LARGE, MIB, ROOM_FOR_ONE, WAIT_S, managed, model_file, say


async def test_a_crowd_loads_a_model_once(tmp_path: Path) -> None:
    """50 who ask at the same time wait for one load."""
    async with asyncio.timeout(WAIT_S), managed(tmp_path, {"a": model_file(tmp_path, "a")}) as made:
        said = await asyncio.gather(*(made.ask("a", f"number {n}") for n in range(50)))

        assert said == [f"number {n}" for n in range(50)]
        assert made.opener.opened == ["a"]


async def test_nothing_is_loaded_before_somebody_asks(tmp_path: Path) -> None:
    """And a name nobody knows is told with those there are."""
    async with managed(tmp_path, {"a": model_file(tmp_path, "a")}) as made:
        with pytest.raises(UnknownModel, match="no model 'b'; there are: a, smollm2-135m"):
            await made.ask("b")

        assert made.opener.opened == []


async def test_roles_and_the_default_are_names_too(tmp_path: Path) -> None:
    """Whoever names no model gets the one that answers."""
    async with asyncio.timeout(WAIT_S), managed(tmp_path, {"a": model_file(tmp_path, "a")}) as made:
        said = [await made.ask(name, "who") for name in ("", "default", "coding", "a")]

        assert {text.split("/")[0] for text in said} == {"a"}
        assert made.opener.opened == ["a"]


async def test_a_pulled_model_is_usable_at_once(tmp_path: Path) -> None:
    """An entry that was just written into models.json."""
    async with asyncio.timeout(WAIT_S), managed(tmp_path, {"a": model_file(tmp_path, "a")}) as made:
        model_file(tmp_path, "pulled")
        (tmp_path / "models.json").write_text('{"models": {"pulled": {"path": "pulled.gguf"}}}')

        assert (await made.ask("pulled", "who")).startswith("pulled/")


# -- memory ------------------------------------------------------------------------------------------------


async def test_the_least_recently_used_makes_room(tmp_path: Path) -> None:
    """Of three that do not fit together the two used last stay."""
    files = {name: model_file(tmp_path, name, size_bytes=400 * MIB) for name in "abc"}
    async with asyncio.timeout(WAIT_S), managed(tmp_path, files) as made:
        await made.ask("a")
        # Each takes less once it is loaded than its file promises.
        estimated, measured = made.opener.estimate("c", files["c"]), made.manager.slots.used_bytes()
    budget = estimated + measured * 3 // 2
    async with asyncio.timeout(WAIT_S), managed(tmp_path, files, budget_bytes=budget) as made:
        await made.ask("a")
        await made.ask("b")
        await made.ask("a")

        await made.ask("c")
        await asyncio.gather(*made.manager.slots.closing.values())

        assert made.loaded() == ["a", "c"]
        assert 0 < made.manager.slots.used_bytes() < budget


async def test_a_model_in_use_is_not_closed_under_its_user(tmp_path: Path) -> None:
    """Who needs its memory waits until the answer has ended."""
    files = {name: model_file(tmp_path, name, size_bytes=LARGE) for name in "ab"}
    async with asyncio.timeout(WAIT_S), managed(tmp_path, files, budget_bytes=ROOM_FOR_ONE) as made:
        async with made.manager.use("a") as model:
            other = asyncio.create_task(made.ask("b", "who"))
            while "a" in made.manager.slots.current:
                await say(model, "still mine")
            assert await say(model, "still mine") == "still mine"
            assert made.loaded() == []

        assert (await other).startswith("b/")
        assert made.loaded() == ["b"]


async def test_those_who_want_more_than_there_is_take_turns(tmp_path: Path) -> None:
    """Everybody is answered, whatever has to be loaded again for it."""
    files = {name: model_file(tmp_path, name, size_bytes=LARGE) for name in "abc"}
    async with asyncio.timeout(WAIT_S), managed(tmp_path, files, budget_bytes=ROOM_FOR_ONE) as made:
        said = await asyncio.gather(*(made.ask("abc"[n % 3], f"number {n}") for n in range(12)))

        assert said == [f"number {n}" for n in range(12)]
        assert len(made.loaded()) == 1


async def test_a_model_that_never_fits_is_refused_with_the_numbers(tmp_path: Path) -> None:
    """The budget of all, and the limit of its own."""
    big = model_file(tmp_path, "big", size_bytes=2000 * MIB)
    small = model_file(tmp_path, "small").model_copy(update={"max_memory": "100MB"})
    async with managed(tmp_path, {"big": big, "small": small}, budget_bytes=1000 * MIB) as made:
        with pytest.raises(
            ModelUnavailable, match=r"big takes 2256 MiB, and engine\.memory_budget allows 1000"
        ):
            await made.ask("big")
        with pytest.raises(ModelUnavailable, match="small takes 256 MiB, and max_memory allows 100 MiB"):
            await made.ask("small")

        assert made.opener.opened == []


async def test_a_load_that_nobody_waits_for_any_more_takes_nobodys_room(tmp_path: Path) -> None:
    """A turn that ran out of time while it waited leaves the others alone, and the model can be asked for later."""
    files = {name: model_file(tmp_path, name, size_bytes=LARGE) for name in "abc"}
    async with asyncio.timeout(WAIT_S), managed(tmp_path, files, budget_bytes=ROOM_FOR_ONE) as made:
        async with made.manager.use("a"):
            waiting = [asyncio.create_task(made.ask(name)) for name in "bc"]
            while not made.manager.slots.closing:
                await asyncio.sleep(0)
            waiting[1].cancel()
            await asyncio.gather(waiting[1], return_exceptions=True)

        await waiting[0]
        while "c" in made.manager.slots.current:
            await asyncio.sleep(0)
        assert made.loaded() == ["b"]
        assert await made.ask("c") == "hello"


# -- unloading ---------------------------------------------------------------------------------------------


async def test_unloading_waits_for_who_uses_it(tmp_path: Path) -> None:
    """The running answer is told to its end; whoever comes next loads the model again."""
    async with asyncio.timeout(WAIT_S), managed(tmp_path, {"a": model_file(tmp_path, "a")}) as made:
        async with made.manager.use("a") as model:
            old = made.pid("a")
            closing = made.manager.unload("a")
            assert closing
            assert await say(model, "to the end") == "to the end"
            assert not closing.done()
        await closing

        assert await made.ask("a") == "hello"
        assert made.pid("a") != old
        with pytest.raises(ProcessLookupError):
            os.kill(old, 0)


async def test_closing_leaves_no_process(tmp_path: Path) -> None:
    """Neither loaded ones nor one that is being loaded; who waits for it is told."""
    files = {name: model_file(tmp_path, name) for name in "ab"}
    async with asyncio.timeout(WAIT_S):
        async with managed(tmp_path, files) as made:
            await made.ask("a")
            pid = made.pid("a")
            waiting = asyncio.create_task(made.ask("b"))
            while "b" not in made.opener.opened:
                await asyncio.sleep(0)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        with pytest.raises(ModelError):
            await waiting
        with pytest.raises(ModelUnavailable, match="closed"):
            await made.ask("a")


# -- failures ----------------------------------------------------------------------------------------------


async def test_a_missing_file_is_told_and_found_when_it_comes(tmp_path: Path) -> None:
    """Nothing is started for it, nothing repeated for a while; once it is there the next who asks is answered."""
    missing = GgufSettings(path=str(tmp_path / "late.gguf"))
    async with asyncio.timeout(WAIT_S), managed(tmp_path, {"late": missing}) as made:
        with capture_logs() as logs:
            for _ in range(5):
                with pytest.raises(ModelUnavailable, match=r"there is no file .*late\.gguf"):
                    await made.ask("late")
        assert [log["event"] for log in logs] == ["model_load_failed"]
        assert made.opener.opened == []

        model_file(tmp_path, "late")

        assert await made.ask("late") == "hello"
        assert made.manager.failures.error_of("late") == ""


async def test_what_cannot_be_loaded_is_left_alone_for_growing_times(tmp_path: Path) -> None:
    """A crowd and those after it get the error at once; an order to load tries again."""
    broken = model_file(tmp_path, "broken", content=b"broken")
    async with asyncio.timeout(WAIT_S), managed(tmp_path, {"broken": broken}) as made:
        results = await asyncio.gather(*(made.ask("broken") for _ in range(20)), return_exceptions=True)
        assert {str(result) for result in results} == {"model broken is broken"}
        assert all(isinstance(result, ModelUnavailable) for result in results)
        assert made.opener.opened == ["broken"]

        with pytest.raises(ModelUnavailable):
            await made.manager.load("broken")
        assert made.opener.opened == ["broken", "broken"]

        model_file(tmp_path, "broken")
        assert await made.ask("broken") == "hello"


async def test_a_crash_while_loading_is_told(tmp_path: Path) -> None:
    """As when the system has no memory for it; other models go on."""
    crash, a = model_file(tmp_path, "crash", content=b"crash!"), model_file(tmp_path, "a")
    async with asyncio.timeout(WAIT_S), managed(tmp_path, {"a": a, "crash": crash}) as made:
        await made.ask("a")

        with pytest.raises(ModelUnavailable, match="SIGKILL"):
            await made.ask("crash")

        assert await made.ask("a") == "hello"


async def test_a_killed_model_fails_its_requests_and_is_there_for_the_next(tmp_path: Path) -> None:
    """Kill -9 while it answers; the model beside it notices nothing."""
    files = {name: model_file(tmp_path, name) for name in "ab"}
    async with asyncio.timeout(WAIT_S), managed(tmp_path, files) as made:
        beside = await made.ask("b", "who")
        hanging = [asyncio.create_task(made.ask("a", f"hang {tmp_path / str(n)}")) for n in range(5)]
        await made.ask("a")

        os.kill(made.pid("a"), signal.SIGKILL)

        results = await asyncio.gather(*hanging, return_exceptions=True)
        assert all(isinstance(result, ModelError) and "SIGKILL" in str(result) for result in results)
        assert await made.ask("a") == "hello"
        assert await made.ask("b", "who") == beside


async def test_a_model_that_ends_again_and_again_is_given_time(tmp_path: Path) -> None:
    """The first end costs the next who asks nothing, later ones a wait; nobody is refused for it."""
    async with asyncio.timeout(WAIT_S), managed(tmp_path, {"a": model_file(tmp_path, "a")}) as made:
        clock = asyncio.get_running_loop().time
        waited = []
        for _ in range(3):
            began_s = clock()
            await made.ask("a")
            waited.append(clock() - began_s)
            process = made.pid("a")
            os.kill(process, signal.SIGKILL)
            while "a" in made.loaded():
                await asyncio.sleep(0.001)

        assert waited[2] >= 1.0
        assert "SIGKILL" in made.manager.failures.error_of("a")


async def test_a_fallback_answers_for_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    """As the settings of the model say."""
    wanted = GgufSettings(path=str(tmp_path / "missing.gguf"), fallbacks=("b",))
    async with (
        asyncio.timeout(WAIT_S),
        managed(tmp_path, {"a": wanted, "b": model_file(tmp_path, "b")}) as made,
    ):
        assert (await made.ask("a", "who")).startswith("b/")


async def test_a_fallback_answers_for_a_model_that_is_killed_before_its_first_word(tmp_path: Path) -> None:
    """Though there is memory for one of them only."""
    a = model_file(tmp_path, "a", size_bytes=LARGE).model_copy(update={"fallbacks": ("b",)})
    b = model_file(tmp_path, "b", size_bytes=LARGE)
    async with (
        asyncio.timeout(WAIT_S),
        managed(tmp_path, {"a": a, "b": b}, budget_bytes=ROOM_FOR_ONE) as made,
        made.manager.use("a") as model,
    ):
        os.kill(made.pid("a"), signal.SIGKILL)
        while made.manager.slots.find("a"):
            await asyncio.sleep(0.001)

        assert (await say(model, "who")).startswith("b/")


# -- adapters on one base ----------------------------------------------------------------------------------


async def test_models_on_one_base_share_a_process(tmp_path: Path) -> None:
    """Its weights are loaded once; the process ends with the last of them."""
    base = model_file(tmp_path, "base")
    files = {"base": base, "law": GgufSettings(base="base"), "poems": GgufSettings(base="base")}
    async with asyncio.timeout(WAIT_S), managed(tmp_path, files) as made:
        said = [await made.ask(name, "who") for name in files]

        assert {text.rpartition("/")[2] for text in said} == {str(made.pid("base"))}
        assert [text.split("/")[0] for text in said] == list(files)
        for name in ("base", "law"):
            closing = made.manager.unload(name)
            assert closing
            await closing
        assert await made.ask("poems") == "hello"


@pytest.mark.parametrize(
    "wrong", [GgufSettings(base="gone"), GgufSettings(base="law"), GgufSettings(base="base", path="own.gguf")]
)
async def test_a_base_has_to_be_a_model_with_a_file(tmp_path: Path, wrong: GgufSettings) -> None:
    """The error says what is expected."""
    files = {"base": model_file(tmp_path, "base"), "law": GgufSettings(base="base"), "wrong": wrong}
    async with managed(tmp_path, files) as made:
        with pytest.raises(ModelUnavailable, match="model wrong cannot be loaded: `base` has to name"):
            await made.ask("wrong")
