"""`export` and `import`: a person's data or everything as a zip of JSON, and the way back."""

import asyncio
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import typer
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn
from sqlalchemy import insert, select

from hub.app.erasure import make_eraser
from hub.app.export import archive_import, personal_records, turn_sink
from hub.cli.database import audited, opened_bus, opened_database
from hub.cli.printing import print_json
from hub.database import database_errors
from hub.erasure.person import Person, parse_identity
from hub.erasure.stores import PersonalRecords
from hub.errors import HubError
from hub.export.archive import Archive, Manifest, write_archive
from hub.export.archived import take_archived
from hub.export.importing import Imported, import_log
from hub.export.keys import earlier_secrets, is_key_file, key_rows, key_values
from hub.export.models import take_models
from hub.export.records import KeyRecords
from hub.key_tables import ApiKeyRow, EarlierSecretRow
from hub.messages import conversation_id
from hub.settings import Settings

Kind = Literal["archive", "log", "keys", "models"]
KINDS: dict[str, Kind] = {"archive": "archive", "log": "log", "keys": "keys", "models": "models"}


def export_to(settings: Settings, file: Path, identities: Sequence[str], *, as_json: bool) -> None:
    """Write an archive and print what it holds.

    Args:
        identities: whose data; everything where nobody is named.

    Raises: HubError: an identity cannot be read, no hub runs, or the file cannot be written.
    """
    named = [parse_identity(identity) for identity in identities]

    async def main() -> Manifest:
        async with opened_bus(settings) as bus:
            person = await make_eraser(settings, bus).find(*named) if named else None
            sources: list[PersonalRecords] = personal_records(settings, bus)
            if person is not None:
                manifest = await _write(file, sources, person, quiet=as_json)
                noted.done("person_exported", " ".join(sorted(person.marks)))
                return manifest
            async with opened_database(settings) as engine:
                manifest = await _write(file, [*sources, KeyRecords(engine)], None, quiet=as_json)
            noted.done("everything_exported")
            return manifest

    try:
        with audited(settings, "export") as noted:
            manifest = asyncio.run(main())
    except OSError as error:
        raise HubError(f"{file} cannot be written: {error.strerror or error}") from error
    if as_json:
        sys.stdout.write(manifest.model_dump_json() + "\n")
        return
    for name, number in manifest.rows.items():
        typer.echo(f"{name:16}{number:>8}")
    typer.echo(f"Written to {file}, readable by you alone.")


async def _write(
    file: Path, sources: Sequence[PersonalRecords], person: Person | None, *, quiet: bool
) -> Manifest:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} rows"))
    with Progress(*columns, transient=True, disable=quiet) as progress:
        task = progress.add_task("", total=None)

        def step(kind: str, rows: int) -> None:
            progress.update(task, description=kind, completed=rows)

        return await write_archive(file, sources, person, version=version("hubbub"), step=step)


def import_from(
    settings: Settings, file: Path, *, kind: Kind | None, conversation: str, as_json: bool
) -> None:
    """Take a file, and print what was new and what could not be taken.

    Args:
        kind: what the file is; told by its content otherwise.
        conversation: where the turns of a log go.

    Raises: HubError: the file cannot be read, or nothing of it could be taken.
    """
    takers: dict[Kind, Callable[[], Imported]] = {
        "archive": lambda: _take_archive(settings, file, quiet=as_json),
        "log": lambda: _take_log(settings, file, conversation, quiet=as_json),
        "keys": lambda: asyncio.run(_take_keys(settings, file)),
        "models": lambda: take_models(settings, file),
    }
    try:
        with audited(settings, "import") as noted:
            taken = kind or _kind_of(file)
            done = takers[taken]()
            if done.taken.total():
                noted.done("imported", taken, entries=done.taken.total())
    except OSError as error:
        raise HubError(f"{file} cannot be read: {error.strerror or error}") from error
    if as_json:
        answer = {"taken": dict(done.taken), "refused": done.refused, "problems": done.problems}
        print_json(answer)
    else:
        for name, number in done.taken.items():
            typer.echo(f"{name:16}{number:>8} new")
        for problem in done.problems:
            typer.echo(problem, err=True)
    if done.refused and not done.taken.total():
        raise HubError(f"nothing was taken; {done.refused} entries could not be read")


def _kind_of(file: Path) -> Kind:
    if zipfile.is_zipfile(file):
        return "archive"
    with file.open("rb") as opened:
        beginning = opened.read(65_536)
    if b'"prompt"' in beginning and b'"response"' in beginning:
        return "log"
    # Before models: a key may have a scope of that name.
    if is_key_file(beginning):
        return "keys"
    if b'"models"' in beginning:
        return "models"
    raise HubError(f"{file}: what this file holds cannot be told; say it with --kind")


def _take_archive(settings: Settings, file: Path, *, quiet: bool) -> Imported:
    async def main() -> Imported:
        with Archive(file) as archive, _counting(sum(archive.manifest.rows.values()), quiet=quiet) as count:
            async with opened_bus(settings) as bus:
                done = await archive_import(settings, bus).take(archive, count)
            async with opened_database(settings) as engine:
                await take_archived(engine, archive, done, count)
            if "keys" in archive.kinds:
                await _keep_keys(settings, archive.rows("keys"), done)
            return done

    return asyncio.run(main())


def _take_log(settings: Settings, file: Path, conversation: str, *, quiet: bool) -> Imported:
    name = conversation or conversation_id("import", file.stem)

    async def main() -> Imported:
        columns = (TextColumn(file.name), BarColumn(), DownloadColumn())
        with Progress(*columns, transient=True, disable=quiet) as progress:
            task = progress.add_task("", total=file.stat().st_size)  # noqa: ASYNC240 - one look
            async with opened_bus(settings) as bus:
                sink = turn_sink(settings, bus)
                return await import_log(
                    file,
                    name,
                    sink,
                    keep=sink.keep,
                    progress=lambda size: progress.advance(task, size),
                )

    done = asyncio.run(main())
    if not quiet:
        typer.echo(f"Conversation {name}: its latest {settings.bus.history_turns} turns are kept.", err=True)
    return done


async def _take_keys(settings: Settings, file: Path) -> Imported:
    done = Imported()
    await _keep_keys(settings, key_rows(file), done)
    return done


async def _keep_keys(settings: Settings, rows: Iterator[Any], done: Imported) -> None:
    """Put keys into the database; those whose id or digest is there stay as they are."""
    async with (
        opened_database(settings) as engine,
        database_errors("keys could not be written"),
        engine.execution_options(immediate=True).begin() as connection,
    ):
        found = await connection.execute(select(ApiKeyRow.id, ApiKeyRow.hash))
        known = {part for pair in found for part in pair}
        known |= set(await connection.scalars(select(EarlierSecretRow.hash)))
        for row in rows:
            try:
                values, earlier = key_values(row, settings.keys.tiers), earlier_secrets(row)
            except ValueError as error:
                done.refuse(str(error))
                continue
            if not {values["id"], values["hash"]} & known:
                await connection.execute(insert(ApiKeyRow).values(values))
                known |= {values["id"], values["hash"]}
                for digest, until in earlier:
                    if digest not in known:
                        known.add(digest)
                        secret = {"hash": digest, "key_id": values["id"], "until": until}
                        await connection.execute(insert(EarlierSecretRow).values(secret))
                done.taken["keys"] += 1


@contextmanager
def _counting(total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    with Progress(BarColumn(), MofNCompleteColumn(), transient=True, disable=quiet) as progress:
        task = progress.add_task("", total=total)
        yield lambda rows: progress.advance(task, rows)
