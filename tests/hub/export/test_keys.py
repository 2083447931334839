"""API keys that come from another hub or an earlier system, and go on to open."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.cli.export import import_from
from hub.database import async_engine, upgrade
from hub.errors import HubError
from hub.export.archive import ArchiveRefused
from hub.export.keys import earlier_secrets, is_key_file, key_rows, key_values
from hub.export.records import KeyRecords
from hub.keys import KeyStore
from hub.settings import Settings

TIERS = ("free", "pro", "own")
OLD = "cc_live_Zm9yIGFuIGVhcmxpZXIgc3lzdGVtIG9ubHk"
DIGEST = hashlib.sha256(OLD.encode()).hexdigest()


@pytest.fixture
async def engine(data: Path) -> AsyncIterator[AsyncEngine]:
    """A new database."""
    await asyncio.to_thread(upgrade, f"sqlite:///{data / 'hubbub.db'}")
    opened = async_engine(f"sqlite:///{data / 'hubbub.db'}")
    yield opened
    await opened.dispose()


def written(tmp_path: Path, content: Any, name: str = "keys.json") -> Path:
    """Write a file: text as it is, the rest as JSON."""
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_keys_are_checked_before_they_are_taken(tmp_path: Path) -> None:
    """JSON lines or an array; only digests, tiers, scopes, networks and times that this hub knows."""
    good = {"id": "0123456789ab", "hash": "a" * 64, "tier": "free", "created_at": "2024-01-01T00:00:00Z"}
    lines = written(tmp_path, json.dumps(good) + "\n", "keys.jsonl")

    assert list(key_rows(lines)) == list(key_rows(written(tmp_path, [good]))) == [good]
    assert key_values(good, TIERS)["created_at"] == datetime(2024, 1, 1, tzinfo=UTC)
    for wrong in (
        {"hash": "sk-plain"},
        {"hash": "a" * 32},
        {"hash": "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"},
        {"hash": None},
        {"tier": "gold"},
        {"scopes": "models"},
        {"networks": ["10.0.0.1/8"]},
        {"networks": ["everywhere"]},
        {"created_at": None},
        {"expires_at": "soon"},
    ):
        with pytest.raises(ValueError, match=r"\w"):
            key_values({**good, **wrong}, TIERS)
    with pytest.raises(ValueError, match="earlier"):
        earlier_secrets({"earlier": ["x"]})
    with pytest.raises(ArchiveRefused):
        list(key_rows(written(tmp_path, ["x"])))


FORMS: list[Any] = [
    [{"id": 17, "key_hash": DIGEST.upper(), "tier": "pro", "user": "billing"}],
    {DIGEST: {"tier": "pro", "name": "billing", "created_at": 1_700_000_000}},
    json.dumps({"hash": f"sha256:{DIGEST}", "tier": "pro", "label": "billing", "active": True}) + "\n",
]


@pytest.mark.parametrize("form", FORMS, ids=["array", "table", "lines"])
async def test_a_key_of_an_earlier_system_goes_on_to_open(
    engine: AsyncEngine, data: Path, tmp_path: Path, form: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever form its file has; what it is, is told by the content, and twice is the same as once."""
    settings, file = Settings(data=data), written(tmp_path, form)
    keys = KeyStore(engine, TIERS)
    taken = []
    for _ in range(2):
        await asyncio.to_thread(import_from, settings, file, kind=None, conversation="", as_json=True)
        taken.append(json.loads(capsys.readouterr().out.splitlines()[-1])["taken"])

    found = await keys.verify(OLD)

    assert taken == [{"keys": 1}, {}]
    assert found is not None
    assert (found.tier, found.label, found.scopes) == ("pro", "billing", ())
    assert await keys.verify(DIGEST) is None
    assert is_key_file(file.read_bytes())


async def test_what_cannot_be_checked_is_told(
    engine: AsyncEngine, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest is taken all the same; a key that was revoked comes as such."""
    rows = [
        {"hash": "$2b$12$" + "a" * 53, "tier": "free"},
        {"hash": DIGEST, "tier": "free", "revoked": True},
    ]
    file = written(tmp_path, rows)

    await asyncio.to_thread(import_from, Settings(data=data), file, kind=None, conversation="", as_json=True)

    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (answer["taken"], answer["refused"]) == ({"keys": 1}, 1)
    assert "make a new one" in answer["problems"][0]
    keys = KeyStore(engine, TIERS)
    assert await keys.verify(OLD) is None
    assert [key.revoked_at is None for key in await keys.list()] == [False]
    only = written(tmp_path, rows[:1], "one.json")
    with pytest.raises(HubError, match="nothing was taken"):
        await asyncio.to_thread(
            import_from, Settings(data=data), only, kind="keys", conversation="", as_json=True
        )


async def test_a_key_moves_with_its_rights_and_secrets(
    engine: AsyncEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What one hub hands out another takes, an overlap included."""
    keys = KeyStore(engine, TIERS)
    made = await keys.create("pro", scopes=("models",), networks=("10.0.0.0/8",))
    fresh = await keys.rotate(made.key.id, overlap=timedelta(hours=1))
    rows = [row async for row in KeyRecords(engine).rows(None)]
    file = written(tmp_path, json.dumps(rows, default=str))
    elsewhere = Settings(data=tmp_path / "elsewhere")

    await asyncio.to_thread(import_from, elsewhere, file, kind=None, conversation="", as_json=True)

    assert fresh is not None
    other = async_engine(f"sqlite:///{elsewhere.data / 'hubbub.db'}")
    for text in (made.text, fresh.text):
        assert await KeyStore(other, TIERS).verify(text) is not None
    [moved] = await KeyStore(other, TIERS).list()
    assert (moved.scopes, moved.networks) == (("models",), ("10.0.0.0/8",))
    await other.dispose()
    capsys.readouterr()
