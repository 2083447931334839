"""`backup` and `restore`: everything a hub keeps as one file, and the way back."""

import asyncio
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from hub.app.backup import BackupOptions, Step, backup_into, backup_to
from hub.app.restore import Restored, restore, verify
from hub.backup.manifest import About, Manifest
from hub.cli.database import audited
from hub.cli.printing import print_json
from hub.cli.screen import one_line
from hub.errors import HubError
from hub.settings import Settings

PIPE = "-"


def write_backup(settings: Settings, target: str, options: BackupOptions, *, as_json: bool) -> None:
    """Write a backup and tell what it holds.

    Raises: HubError: see `hub.app.backup`.
    """
    if target == PIPE:
        if sys.stdout.isatty():
            raise typer.BadParameter("a backup is not for a terminal; redirect it into a file or a program")
        with audited(settings, "backup") as noted, _bar(hidden=as_json) as step:
            manifest = asyncio.run(backup_into(settings, sys.stdout.buffer, options, step))
            noted.done("backup_written", keys=manifest.keys)
        _tell(f"{len(manifest.parts)} parts, {manifest.keys} keys of Redis as of {_time(manifest)}.")
        return
    with audited(settings, "backup") as noted, _bar(hidden=as_json) as step:
        path, manifest = asyncio.run(backup_to(settings, Path(target), options, step))
        noted.done("backup_written", keys=manifest.keys)
    if as_json:
        print_json({"file": str(path), "size_bytes": path.stat().st_size, **_facts(manifest)})
        return
    typer.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB, as of {_time(manifest)}; readable by you alone.")
    for name in manifest.left_out:
        _tell(f"Left out: {one_line(name)}")


def verify_backup(target: str, *, as_json: bool) -> None:
    """Tell whether a backup is whole, to the byte.

    Raises: HubError: it is not.
    """
    with _file(target) as path, _bar(hidden=as_json) as step:
        about, manifest = verify(path, step)
    if as_json:
        print_json({"version": about.version, "database": about.database, **_facts(manifest)})
    else:
        typer.echo(
            f"{target} is whole: made by Hubbub {about.version} at {_time(manifest)}, {len(manifest.parts)} parts, "
            f"{manifest.keys} keys of Redis."
        )


def restore_backup(
    settings: Settings, source: str, *, force: bool, erased_lists: Sequence[Path], as_json: bool
) -> None:
    """Restore a backup and tell what became of it.

    Raises: HubError: see `hub.app.restore`.
    """
    with _file(source, near=settings.data) as path, _bar(hidden=as_json) as step:
        restored = asyncio.run(restore(settings, path, force=force, erased_lists=erased_lists, step=step))
    # Before, there was no log to write it to: what a restore finds it replaces.
    with audited(settings, "restore") as noted:
        noted.done("backup_restored", keys=restored.keys)
    _show(settings, restored, as_json=as_json)


def _show(settings: Settings, restored: Restored, *, as_json: bool) -> None:
    if as_json:
        facts = {"keys": restored.keys, "erased_again": restored.erased_again}
        print_json({**_facts(restored.manifest), **facts, "version": restored.about.version})
        return
    typer.echo(
        f"{settings.data} is as it was at {_time(restored.manifest)}, {restored.keys} keys of Redis. Start it with `hubbub up`."
    )
    if restored.erased_again:
        typer.echo(f"Erased again, because they had been since: {restored.erased_again} identities.")


def _facts(manifest: Manifest) -> dict[str, Any]:
    return {
        "cut_at": manifest.cut_at.isoformat(),
        "paused_s": manifest.paused_s,
        "keys": manifest.keys,
        "parts": len(manifest.parts),
        "left_out": list(manifest.left_out),
    }


def _time(manifest: About | Manifest) -> str:
    at = manifest.begun_at if isinstance(manifest, About) else manifest.cut_at
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")


@contextlib.contextmanager
def _file(name: str, *, near: Path | None = None) -> Iterator[Path]:
    """Give a backup as a file: what comes by a pipe is read to its end first, because its seal stands there."""
    if name != PIPE:
        if not Path(name).is_file():
            raise HubError(f"there is no file {name}")
        yield Path(name)
        return
    folder = next(
        (place for place in (near, *(near.parents if near else ())) if place and place.is_dir()), None
    )
    with tempfile.NamedTemporaryFile(dir=folder and folder.resolve(), prefix=".hubbub-backup-") as file:
        try:
            shutil.copyfileobj(sys.stdin.buffer, file)
            file.flush()
        except OSError as error:
            raise HubError(f"the backup cannot be kept until it was checked: {error.strerror}") from error
        yield Path(file.name)


@contextlib.contextmanager
def _bar(*, hidden: bool) -> Iterator[Step]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, disable=hidden or not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task("", total=None)

        def step(what: str, done: int, size: int) -> None:
            bar.update(task, description=one_line(what)[-40:], completed=done, total=size or None)

        yield step
