"""Files nobody thought of for `hubbub import`: what can be taken is, what cannot is told, and nothing else is written."""

import asyncio
import contextlib
import io
import json
import secrets
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from hub.cli.export import import_from
from hub.database import upgrade
from hub.errors import HubError
from hub.export.archive import MANIFEST, Manifest
from hub.messages import Address, Turn, utc_now
from hub.settings import Settings
from tests.fuzzing import tried_on_one
from tests.servers.redis import RedisServer

AT = datetime(2026, 1, 1, tzinfo=UTC)
ADDRESS = Address(connector="telegram", account="1", chat="2", person="2")
TURN = Turn(turn="1767225600000-0", address=ADDRESS, question="q", answer="a", asked_at=AT, answered_at=AT)
ROWS: Mapping[str, Mapping[str, Any]] = {
    "conversations": {"conversation": "web-x-1", **TURN.model_dump(mode="json")},
    "archived_turns": {"conversation": "web-x-1", **TURN.model_dump(mode="json")},
    "facts": {"conversation": "web-x-1", "key": "name", "value": '{"text":"x"}', "person": ""},
    "settings": {"conversation": "web-x-1", "key": "model", "value": "big"},
    "style": {"conversation": "web-x-1", "key": "tone", "value": "short", "person": ""},
    "identities": {
        "connector": "web", "account": "x", "person": "1", "linked_as": "abc", "conversations": {"web-x-1": "private"}
    },
    "keys": {"id": "0123456789ab", "hash": "a" * 64, "tier": "free", "label": "", "scopes": [], "networks": [],
             "created_at": "2026-01-01T00:00:00Z", "expires_at": None, "earlier": []},
}  # fmt: skip
"""Rows that are taken."""

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
SCALARS |= st.sampled_from(
    [
        "",
        "9" * 30,
        "9" * 30 + "-1",
        "1-²",
        "-1-0",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2026-01-01",
        "NaN",
        "../x",
        "a:b",
        "{*}",
        "x" * 65,
        "group",
        "b" * 64,
        "10.0.0.0/8",
        "\x00",
    ]
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def _changed(whole: Mapping[str, Any]) -> st.SearchStrategy[bytes]:
    """Give a row some of whose fields are something else, or missing."""
    names = st.sampled_from(sorted(whole))
    return st.builds(
        lambda other, without: json.dumps(
            {name: value for name, value in {**whole, **other}.items() if name not in without}
        ).encode(),
        st.dictionaries(names | st.text(max_size=6), ANYTHING, max_size=2),
        st.sets(names, max_size=1),
    )


LINES = st.sampled_from([b"", b"null", b"[]", b"{", b'"x"', b"[" * 2000, b"\xff\xfe", b'{"a":"\\ud800"}'])
LINES |= st.binary(max_size=30).map(lambda line: line.replace(b"\n", b""))
ARCHIVES = st.fixed_dictionaries(
    {}, optional={kind: st.lists(_changed(row) | LINES, max_size=3) for kind, row in ROWS.items()}
)
LOG = {"timestamp": "2026-01-01T00:00:00Z", "prompt": "q", "response": "a"}


@pytest.fixture
def settings(redis: Redis, redis_server: RedisServer, data: Path) -> Settings:
    """A hub with an empty Redis and an empty database."""
    upgrade(f"sqlite:///{data / 'hubbub.db'}")
    return Settings(data=data, bus={"redis_url": redis_server.url})


@contextlib.contextmanager
def _nothing_else_is_written(url: str) -> Iterator[None]:
    """Look that all keys are of the kinds that are imported."""
    yield
    kinds = ("history", "version", "facts", "style", "preferences", "known", "people")

    async def keys() -> list[bytes]:
        client: Any = Redis.from_url(url)
        try:
            return [key async for key in client.scan_iter("*", count=1000)]
        finally:
            await client.aclose()

    allowed = tuple(f"hubbub:{{0}}:{kind}:".encode() for kind in kinds)
    assert all(key.startswith(allowed) for key in asyncio.run(keys()))


def _archive(rows: Mapping[str, Sequence[bytes]]) -> bytes:
    manifest = Manifest(format=1, version="1", made_at=utc_now(), scope="everything")
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for kind, lines in rows.items():
            archive.writestr(f"{kind}.jsonl", b"".join(line + b"\n" for line in lines))
        archive.writestr(MANIFEST, manifest.model_dump_json())
    return data.getvalue()


def _imported(
    settings: Settings, path: Path, data: bytes, capsys: pytest.CaptureFixture[str], kind: Any = None
) -> Any:
    """Import a file as the command does; None where it is refused as a whole."""
    path.write_bytes(data)
    capsys.readouterr()
    with _nothing_else_is_written(settings.bus.redis_url.get_secret_value()):
        try:
            import_from(settings, path, kind=kind, conversation="", as_json=True)
        except HubError:
            return None
        finally:
            printed = capsys.readouterr().out
    return json.loads(printed)


@given(rows=ARCHIVES)
@tried_on_one(12)
def test_every_archive_is_taken_or_refused(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: Mapping[str, list[bytes]]
) -> None:
    """Row by row: one that cannot be taken keeps none of the others out."""
    good = {
        kind: [
            json.dumps({**row, "conversation": "web-x-2", "id": "ba9876543210", "hash": "b" * 64}).encode()
        ]
        for kind, row in ROWS.items()
    }

    done = _imported(settings, tmp_path / "a.zip", _archive(rows), capsys)
    again = _imported(settings, tmp_path / "a.zip", _archive(rows), capsys)
    after = _imported(settings, tmp_path / "a.zip", _archive(good), capsys)

    assert done is None or done["refused"] + sum(done["taken"].values()) <= 40
    assert not again or not sum(again["taken"].values()), "the same file twice is the same as once"
    assert after is not None
    assert after["refused"] == 0


@given(
    rows=ARCHIVES,
    cuts=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4)), min_size=1, max_size=4),
    end=st.floats(0, 1),
)
@tried_on_one(15)
def test_every_damaged_archive_is_taken_or_refused(
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rows: Mapping[str, list[bytes]],
    cuts: Sequence[tuple[float, bytes]],
    end: float,
) -> None:
    """Bytes are others somewhere, and the end may be missing."""
    data = bytearray(_archive(rows))
    for at, other in cuts:
        place = int(at * len(data))
        data[place : place + len(other)] = other
    if end < 0.3:
        del data[int(end / 0.3 * len(data)) :]

    _imported(settings, tmp_path / "a.zip", bytes(data), capsys)
    _imported(settings, tmp_path / "a.zip", bytes(data), capsys, kind="archive")


@given(lines=st.lists(_changed(LOG) | LINES, max_size=6))
@tried_on_one(25)
def test_every_log_is_taken_line_by_line(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: Sequence[bytes]
) -> None:
    """A good line behind whatever lines is taken."""
    good = json.dumps({**LOG, "prompt": "the last"}).encode()

    # Its name is that of the conversation: one of its own.
    file = tmp_path / f"{secrets.token_hex(6)}.jsonl"
    done = _imported(settings, file, b"\n".join([*lines, good]), capsys, kind="log")

    assert done is not None
    assert done["taken"]["turns"] + done["refused"] + lines.count(b"") >= len(lines) + 1
    assert done["refused"] <= len(lines)


@given(
    lines=st.lists(_changed(ROWS["keys"]) | LINES, max_size=4), kind=st.sampled_from(["keys", "models", None])
)
@tried_on_one(15)
def test_every_file_of_keys_or_models_is_taken_or_refused(
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    lines: Sequence[bytes],
    kind: Any,
) -> None:
    """As lines, as a list, as a table, and as what it is taken for by mistake."""
    for data in (
        b"\n".join(lines),
        b"[" + b",".join(lines) + b"]",
        b'{"models":{"x":' + b",".join(lines) + b"}}",
    ):
        _imported(settings, tmp_path / "keys.json", data, capsys, kind=kind)
