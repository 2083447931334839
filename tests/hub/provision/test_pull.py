"""Fetching models from a hub."""

import asyncio
import hashlib
import json
import random
from pathlib import Path

import pytest

from hub.errors import ProvisionError
from hub.model_registry import ModelRegistry
from hub.model_settings import GgufSettings
from hub.provision.pull import Progress
from tests.emulators.model_hub import REPO, ModelHub
from tests.hub.provision.fetching import bytes_of, content, fetch, files_in, settings_for

FILE = "small-Q4_K_M.gguf"
FOLDER = f"models/{REPO}"


async def test_a_fetched_model_is_in_the_registry_at_once(data: Path) -> None:
    """With its file, its sum and what it holds; a path that moves with the data folder."""
    weights = content()
    async with ModelHub({FILE: weights, "small-Q3_K_M.gguf": b"worse", "README.md": b"Hi"}) as hub:
        settings = settings_for(hub, data)
        steps: list[Progress] = []
        pulled = await fetch(settings, steps=steps)

    assert bytes_of(pulled) == weights
    assert pulled.location == str(data / FOLDER / FILE)
    assert steps[-1] == Progress(file=FILE, done_bytes=len(weights), total_bytes=len(weights))
    assert ModelRegistry(settings).settings_of("small-q4_k_m") == GgufSettings(
        path=pulled.location,
        sha256=hashlib.sha256(weights).hexdigest(),
        quantization="Q4_K_M",
    )
    entry = json.loads((data / "models.json").read_text())["models"]["small-q4_k_m"]
    assert entry["path"] == f"{FOLDER}/{FILE}"
    assert set(files_in(data)) == {f"{FOLDER}/{FILE}", f"{FOLDER}/.fetched.json"}


@pytest.mark.parametrize("seed", range(5))
async def test_a_dropped_connection_is_taken_up_where_it_broke(data: Path, seed: int) -> None:
    """What has arrived is not asked for again, wherever it broke."""
    chance = random.Random(seed)
    weights = content(3_000_000, seed)
    async with ModelHub({FILE: weights}) as hub:
        hub.breaks = [chance.randrange(1_100_000) for _ in range(3)]
        pulled = await fetch(settings_for(hub, data))

    assert bytes_of(pulled) == weights
    begins = [int(one.removeprefix("bytes=").removesuffix("-") or 0) for one in hub.ranges]
    assert begins == sorted(begins)
    assert begins[-1] > 0


async def test_a_fetch_that_ended_is_taken_up_by_the_next(data: Path) -> None:
    """The bytes of the first one are checked again, and not fetched again."""
    weights = content()
    async with ModelHub({FILE: weights}) as hub:
        settings = settings_for(hub, data)
        hub.breaks = [100_000, 0, 0, 0, 0]
        with pytest.raises(ProvisionError, match=r"100000 of 300000 bytes are kept"):
            await fetch(settings)
        assert not settings.models_path.exists()
        hub.breaks = []
        steps: list[Progress] = []
        pulled = await fetch(settings, steps=steps)

    assert bytes_of(pulled) == weights
    assert hub.ranges[-1] == "bytes=100000-"
    assert steps[0].done_bytes == 100_000


async def test_the_beginning_of_an_earlier_version_is_not_taken_up(data: Path) -> None:
    """The hub has another file of this name by now; nothing of the old one stays."""
    async with ModelHub({FILE: content()}) as hub:
        settings = settings_for(hub, data)
        hub.breaks = [100_000, 0, 0, 0, 0]
        with pytest.raises(ProvisionError):
            await fetch(settings)
        hub.breaks = []
        hub.files[FILE] = content(seed=2)
        pulled = await fetch(settings)

    assert bytes_of(pulled) == content(seed=2)
    assert set(files_in(data)) == {f"{FOLDER}/{FILE}", f"{FOLDER}/.fetched.json"}


async def test_a_cancelled_fetch_is_taken_up_by_the_next(data: Path) -> None:
    """As Ctrl-C does it: the file is not there, its beginning is, and nobody is locked out."""
    weights = content()
    async with ModelHub({FILE: weights}) as hub:
        settings = settings_for(hub, data)
        hub.gate = asyncio.Event()
        fetching = asyncio.create_task(fetch(settings))
        async with asyncio.timeout(20):
            await hub.is_waiting.wait()
        fetching.cancel()
        await asyncio.gather(fetching, return_exceptions=True)
        assert f"{FOLDER}/{FILE}" not in files_in(data)
        hub.gate.set()
        pulled = await fetch(settings)

    assert bytes_of(pulled) == weights


async def test_a_hub_without_ranges_sends_all_of_it_again(data: Path) -> None:
    """Bytes of two attempts are never mixed."""
    weights = content()
    async with ModelHub({FILE: weights}) as hub:
        hub.knows_ranges = False
        hub.breaks = [100_000]
        pulled = await fetch(settings_for(hub, data))

    assert bytes_of(pulled) == weights


@pytest.mark.parametrize(
    "wrong", [content(300_000, seed=9), content(300_001)], ids=["other bytes", "more bytes"]
)
async def test_bytes_that_were_not_announced_are_refused(data: Path, wrong: bytes) -> None:
    """Nothing is left behind, neither file nor entry."""
    async with ModelHub({FILE: content()}) as hub:
        settings = settings_for(hub, data)
        hub.sent[FILE] = wrong
        with pytest.raises(ProvisionError, match="nothing of it was kept"):
            await fetch(settings)

    assert files_in(data) == {}
    assert not settings.models_path.exists()


async def test_small_files_are_compared_with_gits_sum(data: Path) -> None:
    """The hub tells no SHA-256 of them; the one that is recorded is ours."""
    files = {"model.safetensors": content(), "config.json": b"{}", "tokenizer.json": b"[1]"}
    async with ModelHub(files) as hub:
        settings = settings_for(hub, data)
        hub.sent["config.json"] = b"[]"
        with pytest.raises(ProvisionError, match=r"config\.json has the sum"):
            await fetch(settings)
        del hub.sent["config.json"]
        pulled = await fetch(settings)

    assert (pulled.name, pulled.type, pulled.location) == ("small-gguf", "safetensors", str(data / FOLDER))
    recorded = json.loads((data / FOLDER / ".fetched.json").read_text())["files"]
    assert {name: one["sha256"] for name, one in recorded.items()} == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items()
    }


async def test_a_model_that_is_there_is_not_fetched_again(data: Path) -> None:
    """Only its sum is computed; one that was changed comes anew."""
    weights = content()
    async with ModelHub({FILE: weights}) as hub:
        settings = settings_for(hub, data)
        await fetch(settings)
        await fetch(settings)
        assert hub.asked[FILE] == 2  # the address on the hub, and the bytes where that leads
        (data / FOLDER / FILE).write_bytes(content(seed=4))
        again = await fetch(settings)

    assert bytes_of(again) == weights


async def test_a_file_that_was_put_there_by_hand_is_replaced_only_by_the_right_one(data: Path) -> None:
    """A failed fetch leaves it as it is."""
    async with ModelHub({FILE: content()}) as hub:
        settings = settings_for(hub, data)
        (data / FOLDER).mkdir(parents=True)
        (data / FOLDER / FILE).write_bytes(b"mine")
        hub.sent[FILE] = content(seed=3)
        with pytest.raises(ProvisionError):
            await fetch(settings)

    assert (data / FOLDER / FILE).read_bytes() == b"mine"


async def test_two_at_once_do_not_write_to_one_file(data: Path) -> None:
    """The second is told, and the first is not disturbed."""
    async with ModelHub({FILE: content()}) as hub:
        settings = settings_for(hub, data)
        hub.gate = asyncio.Event()
        first = asyncio.create_task(fetch(settings))
        async with asyncio.timeout(20):
            await hub.is_waiting.wait()
        with pytest.raises(ProvisionError, match="being fetched already"):
            await fetch(settings)
        hub.gate.set()
        pulled = await first

    assert bytes_of(pulled) == content()


# -- what the hub says -------------------------------------------------------------------------------------


async def test_a_busy_hub_is_asked_again(data: Path) -> None:
    """429 and 5xx pass; the list and the bytes are asked for anew."""
    async with ModelHub({FILE: content()}) as hub:
        hub.statuses = [(429, {"Retry-After": "0"}), (503, {}), (500, {})]
        pulled = await fetch(settings_for(hub, data))

    assert pulled.size_bytes == 300_000


async def test_a_hub_that_asks_for_an_hour_is_not_waited_for(data: Path) -> None:
    """The text says that it is about too many requests."""
    async with ModelHub({FILE: content()}) as hub:
        hub.statuses = [(429, {"Retry-After": "3600"})]
        with pytest.raises(ProvisionError, match="too many requests"):
            await fetch(settings_for(hub, data))


async def test_a_hub_that_stays_broken_is_given_up(data: Path) -> None:
    """After as many attempts as patience allows."""
    async with ModelHub({FILE: content()}) as hub:
        hub.statuses = [(500, {})] * 10
        with pytest.raises(ProvisionError, match=r"no answer \(500\)"):
            await fetch(settings_for(hub, data))

    assert len(hub.statuses) == 6


async def test_a_missing_repository_is_told(data: Path) -> None:
    """Not asked for again."""
    async with ModelHub({FILE: content()}) as hub:
        with pytest.raises(ProvisionError, match="no such repository"):
            await fetch(settings_for(hub, data), "maker/other")


async def test_a_token_is_shown_to_the_hub_alone(data: Path) -> None:
    """Not to where it redirects; and without one the error says how it is set."""
    async with ModelHub({FILE: content()}, token="hf_secret") as hub:
        with pytest.raises(ProvisionError, match="HUBBUB_PROVISION__TOKEN"):
            await fetch(settings_for(hub, data))
        with pytest.raises(ProvisionError, match="may not read this") as caught:
            await fetch(settings_for(hub, data, token="hf_wrong"))
        hub.authorizations.clear()
        await fetch(settings_for(hub, data, token="hf_secret"))

    assert "hf_wrong" not in str(caught.value)
    shown = {(host.split(":")[0], secret) for host, secret in hub.authorizations}
    assert shown == {("127.0.0.1", "Bearer hf_secret"), ("localhost", "")}


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ("ftp://host/x", "no address"),
        ("", "more than 5 times"),
        ("//[", "no address"),
    ],
)
async def test_a_redirect_that_leads_nowhere_is_told(data: Path, location: str, text: str) -> None:
    """Whatever another server writes there."""
    async with ModelHub({FILE: content()}) as hub:
        hub.statuses = [(302, {"Location": location})] * 10
        with pytest.raises(ProvisionError, match=text):
            await fetch(settings_for(hub, data))


async def test_a_list_of_several_pages_is_read_to_its_end(data: Path) -> None:
    """The hub sends a thousand files at a time."""
    files = {f"notes/{number}.txt": b"" for number in range(25)} | {FILE: content()}
    async with ModelHub(files) as hub:
        hub.page_size = 10
        assert (await fetch(settings_for(hub, data))).location.endswith(FILE)


async def test_a_hub_that_is_none_is_told(data: Path) -> None:
    """Whatever listens there."""
    async with ModelHub({FILE: content()}) as hub:
        settings = settings_for(hub, data)
    with pytest.raises(ProvisionError, match=r"127\.0\.0\.1"):
        await fetch(settings)


# -- what does not come in ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../../../escape.gguf",
        "/escape.gguf",
        "a/../../escape.gguf",
        "..\\escape.gguf",
        ".hidden.gguf",
        "a\0b.gguf",
        "a\nb.gguf",
        "~/x.gguf",
        "a" * 300 + ".gguf",
    ],
)
async def test_hostile_names_never_become_paths(data: Path, name: str) -> None:
    """Neither as the hub lists them nor as somebody asks for them."""
    async with ModelHub({name: content()}) as hub:
        settings = settings_for(hub, data)
        with pytest.raises(ProvisionError):
            await fetch(settings)
        with pytest.raises(ProvisionError):
            await fetch(settings, f"{REPO}:{name}")

    assert files_in(data.parent) == {}


async def test_a_link_in_the_folder_is_not_followed(data: Path, tmp_path: Path) -> None:
    """Somebody else's folder is not written to."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (data / "models").mkdir()
    (data / "models" / "maker").symlink_to(outside)
    async with ModelHub({FILE: content()}) as hub:
        with pytest.raises(ProvisionError, match="is a link"):
            await fetch(settings_for(hub, data))

    assert not list(outside.iterdir())


async def test_pickles_are_refused_with_the_reason(data: Path) -> None:
    """Whether asked for by name, or all there is."""
    async with ModelHub({"pytorch_model.bin": content(), "config.json": b"{}"}) as hub:
        settings = settings_for(hub, data)
        for source in (REPO, f"{REPO}:pytorch_model.bin"):
            with pytest.raises(ProvisionError, match="can run any code when it is opened"):
                await fetch(settings, source)

    assert files_in(data) == {}


async def test_a_file_beyond_the_limit_is_not_begun(data: Path) -> None:
    """The size is known before a byte of it is fetched."""
    async with ModelHub({FILE: content()}) as hub:
        with pytest.raises(ProvisionError, match=r"provision\.max_file_bytes allows 1000"):
            await fetch(settings_for(hub, data, max_file_bytes=1000))

    assert not hub.asked[FILE]


async def test_a_file_for_which_there_is_no_room_is_not_begun(data: Path) -> None:
    """A disk that runs full would stop Redis, too."""
    async with ModelHub({FILE: content()}) as hub:
        hub.announced[FILE] = {"lfs": {"oid": "0" * 64, "size": 10**16}}
        with pytest.raises(ProvisionError, match="there is no room"):
            await fetch(settings_for(hub, data, max_file_bytes=10**17))

    assert not hub.asked[FILE]


async def test_a_file_without_a_sum_is_not_fetched(data: Path) -> None:
    """Nobody could tell whether it is right."""
    async with ModelHub({FILE: content()}) as hub:
        hub.announced[FILE] = {"lfs": {"oid": "none", "size": 300_000}}
        with pytest.raises(ProvisionError, match="has no sum"):
            await fetch(settings_for(hub, data))


# -- the registry ------------------------------------------------------------------------------------------


async def test_what_a_person_wrote_into_the_registry_stays(data: Path) -> None:
    """Other entries, and what was added to the one that is fetched again."""
    (data / "models.json").write_text('{"note": "mine", "models": {"far": {"type": "remote", "x": 1}}}')
    async with ModelHub({FILE: content()}) as hub:
        settings = settings_for(hub, data)
        await fetch(settings, name="chat")
        written = json.loads((data / "models.json").read_text())
        written["models"]["chat"]["context_length"] = 8192
        (data / "models.json").write_text(json.dumps(written))
        await fetch(settings, name="chat")

    kept = json.loads((data / "models.json").read_text())
    assert kept["note"] == "mine"
    assert kept["models"]["far"] == {"type": "remote", "x": 1}
    assert kept["models"]["chat"]["context_length"] == 8192


@pytest.mark.parametrize("name", ["smollm2-135m", "taken", "general", "default", "a b", "../x"])
async def test_a_name_that_cannot_be_used_is_refused_before_anything_is_fetched(
    data: Path, name: str
) -> None:
    """Another model's, a role's, or none at all."""
    (data / "models.json").write_text('{"models": {"taken": {"type": "gguf", "path": "other.gguf"}}}')
    async with ModelHub({FILE: content()}) as hub:
        with pytest.raises(ProvisionError):
            await fetch(settings_for(hub, data), name=name)

    assert not hub.asked[FILE]


async def test_a_registry_that_cannot_be_read_is_left_as_it_is(data: Path) -> None:
    """Somebody may be editing it."""
    (data / "models.json").write_text('{"models": {')
    async with ModelHub({FILE: content()}) as hub:
        with pytest.raises(ProvisionError, match="is not valid JSON"):
            await fetch(settings_for(hub, data))

    assert (data / "models.json").read_text() == '{"models": {'
