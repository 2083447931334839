"""A connector of another package has its own state erased, by an entry point as docs/connectors.md shows it."""

import importlib
import re
from pathlib import Path

import pytest

from hub.app.erasure import make_eraser
from hub.app.export import personal_records
from hub.bus.state import State
from hub.erasure.person import Person, Principal
from hub.errors import SettingsError
from tests.hub.erasure.world import World

DOCUMENT = Path(__file__).parents[3] / "docs" / "connectors.md"
ANA = Principal(connector="folder", account="folder", person="ana")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a package with the example."""
    programs = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    [program] = [program for program in programs if "class Traces" in program]
    place = tmp_path / "site"
    (place / "other_package-1.0.dist-info").mkdir(parents=True)
    (place / "other_package.py").write_text(program)
    (place / "other_package-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: other_package\nVersion: 1.0\n"
    )
    points = place / "other_package-1.0.dist-info" / "entry_points.txt"
    _offer(points, "traces")
    monkeypatch.syspath_prepend(place)
    importlib.invalidate_caches()
    return points


def _offer(points: Path, what: str) -> None:
    points.write_text(f"[hubbub.erasure]\nfolder = other_package:{what}\n")


async def test_what_such_a_connector_keeps_is_erased(world: World, package: Path) -> None:
    """Under the name of its table; another's stays, and the receipt names the connector."""
    settings = world.settings.model_copy(update={"connectors": {"folder": {}}})
    store = State(world.redis, "folder")
    for person in ("ana", "ben"):
        await store.set(f"last:{person}", "x")

    receipt = await make_eraser(settings, world.bus).erase(ANA)

    assert receipt.removed["folder"] == 1
    assert (await store.get("last:ana"), await store.get("last:ben")) == (None, "x")


async def test_what_such_a_connector_keeps_is_handed_out(world: World, package: Path) -> None:
    """To the person it is of, in a file of its own; where everything is exported it has no rows."""
    settings = world.settings.model_copy(update={"connectors": {"folder": {}}})
    for person in ("ana", "ben"):
        await State(world.redis, "folder").set(f"last:{person}", f"of {person}")

    [records] = [one for one in personal_records(settings, world.bus) if one.name == "folder"]

    named = Person.named(ANA)
    assert [row async for row in records.rows(named)] == [{"name": "last:ana", "value": "of ana"}]
    assert [row async for row in records.rows(None)] == []


async def test_nobody_is_told_of_an_erasure_that_cannot_see_everything(world: World, package: Path) -> None:
    """A package whose part cannot be loaded is told before anything is removed."""
    _offer(package, "nothing")
    settings = world.settings.model_copy(update={"connectors": {"folder": {}}})

    with pytest.raises(SettingsError, match="folder"):
        make_eraser(settings, world.bus)
