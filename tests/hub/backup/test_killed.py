"""Backup and restore as programs that are killed at any moment: nothing half done is ever taken for whole."""

import asyncio
import os
import random
import secrets
import sys
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from hub.backup.sealed import BackupRefused, check_seal
from hub.backup.unfinished import is_folder_marked
from hub.bus.connection import connect
from hub.bus.embedded import EmbeddedRedis, embedded_url
from hub.settings import Settings
from tests.hub.backup.backups import backup, files_of, furnish, hidden, keys_of, restored, rows_of
from tests.hub.erasure.world import ANA, World

SEED = int(os.environ.get("FAULT_SEED") or secrets.randbits(32))
KILLS = int(os.environ.get("BACKUP_KILLS") or 2)


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
async def stopped(world: World, tmp_path: Path) -> Settings:
    """A stopped hub with an embedded Redis, restored from a backup of one with a Redis of its own."""
    await world.live_through(ANA)
    furnish(world.settings)
    bus = world.settings.bus.model_copy(update={"redis_url": SecretStr("")})
    settings = world.settings.model_copy(update={"data": tmp_path / "stopped", "bus": bus})
    await restored(settings, await backup(world.settings, tmp_path / "first.tar.gz"))
    return settings


async def _command(data: Path, *words: str, kill_after_s: float | None = None) -> tuple[int, str]:
    """Run a command, killed after a while where that is said; returns its exit code and what it told."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hub", *words, "--data", str(data), "--json"),
        env=clean,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    telling = asyncio.create_task(process.communicate())
    if kill_after_s is not None:
        done, _ = await asyncio.wait({telling}, timeout=kill_after_s)
        if not done:
            process.kill()
    _, err = await asyncio.wait_for(telling, 60)
    return process.returncode or 0, err.decode()


async def _keys_in(settings: Settings) -> dict[bytes, tuple[bytes, bool]]:
    server = EmbeddedRedis(settings.bus, settings.data)
    await server.start()
    client = connect(embedded_url(settings.data))
    try:
        return await keys_of(client)
    finally:
        await client.aclose()
        await server.stop()


async def test_a_killed_backup_leaves_no_file_that_is_not_whole(stopped: Settings, tmp_path: Path) -> None:
    """Killed anywhere, also while it has started the Redis of a stopped hub; the next one works, and clears up."""
    sys.stderr.write(f"\nbackup: repeat with FAULT_SEED={SEED}\n")
    dice, target = random.Random(SEED), tmp_path / "killed.tar.gz"
    began = time.monotonic()
    assert await _command(stopped.data, "backup", str(target)) == (0, "")
    whole_s, size = time.monotonic() - began, check_seal(target)
    target.unlink()

    for _ in range(KILLS):
        await _command(stopped.data, "backup", str(target), kill_after_s=dice.uniform(0.3, 1) * whole_s)
        if target.exists():
            assert check_seal(target) > size / 2
            target.unlink()

    assert await _command(stopped.data, "backup", str(target)) == (0, "")
    assert check_seal(target) > size / 2
    assert hidden(tmp_path) == hidden(stopped.data) == []
    other = stopped.model_copy(update={"data": tmp_path / "again"})
    await restored(other, target)
    assert await _keys_in(other) == await _keys_in(stopped)


async def test_a_killed_restore_is_not_there_or_keeps_the_hub_away(
    stopped: Settings, world: World, tmp_path: Path
) -> None:
    """What was there is untouched, or the mark stands, until the restore has been repeated."""
    sys.stderr.write(f"\nrestore: repeat with FAULT_SEED={SEED}\n")
    dice, path = random.Random(SEED), await backup(world.settings, tmp_path / "new.tar.gz")
    words = ("restore", str(path), "--force")
    expected = await _expected(stopped, path, tmp_path)
    (stopped.data / "models.json").write_text("old")
    old, rows, marked = files_of(stopped.data), rows_of(stopped), 0
    began = time.monotonic()
    copy = tmp_path / "timed"
    assert (await _command(copy, *words))[0] == 0
    whole_s = time.monotonic() - began

    for _ in range(KILLS):
        await _command(stopped.data, *words, kill_after_s=dice.uniform(0.4, 1.05) * whole_s)
        if is_folder_marked(stopped.data):
            marked += 1
            code, told = await _command(stopped.data, "backup", str(tmp_path / "no.tar.gz"))
            assert code == 2
            assert "restore has not finished" in told
        else:
            there = files_of(stopped.data)
            assert there == (expected if there["models.json"] != b"old" else old)
            assert rows_of(stopped) == rows
    sys.stderr.write(f"restore: {marked} marks\n")

    assert await _command(stopped.data, *words) == (0, "")
    assert not is_folder_marked(stopped.data)
    assert files_of(stopped.data) == expected
    assert hidden(stopped.data) == []


async def _expected(stopped: Settings, path: Path, tmp_path: Path) -> dict[str, bytes]:
    there = stopped.model_copy(update={"data": tmp_path / "expected"})
    await restored(there, path)
    return files_of(there.data)


async def test_a_restore_killed_between_two_renames_is_repeated(
    stopped: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each of its renames in turn: the mark stands, and the next restore ends what was begun."""
    path = await backup(stopped, tmp_path / "b.tar.gz")
    # Noted after the backup: no other copy of it is anywhere.
    with (stopped.data / "erased.jsonl").open("ab") as notes:
        notes.write(b'{"id":"noted-later","at":"2026-01-01T00:00:00+00:00","who":["00"]}\n')
    expected = files_of(stopped.data)
    rename, left = Path.rename, 0

    def dies(self: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", dies)
    first, deaths = _renames_before_the_swap(expected), 0
    for left_before in (first + 1, first + 4, first + 8):
        left = left_before
        with pytest.raises(Killed):
            await restored(stopped, path, force=True)
        assert is_folder_marked(stopped.data)
        assert b"noted-later" in (stopped.data / "erased.jsonl").read_bytes()
        deaths += 1
    left = -1
    with pytest.raises(BackupRefused):
        await restored(stopped, tmp_path / "stopped" / "models.json")

    await restored(stopped, path)

    assert deaths == 3
    assert files_of(stopped.data) == expected
    assert not is_folder_marked(stopped.data)


def _renames_before_the_swap(found: dict[str, bytes]) -> int:
    """Every entry of the files, the index and the database go to their places first."""
    entries = {name.split("/")[0] for name in found} - {"index"}
    return len(entries) + 1 + 2
