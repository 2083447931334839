"""`collections`: which documents are for whom; a running hub notices what changes."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hub.app.audiences import read_audience
from hub.cli.database import audited
from hub.cli.printing import print_json
from hub.cli.screen import one_line
from hub.database import database_url, opened
from hub.settings import Settings
from knowledge.library import Library


def list_collections(settings: Settings, *, as_json: bool) -> None:
    """Print all collections, and who may read them."""
    with _library(settings) as library:
        found = library.collections()
    if as_json:
        print_json(found)
        return
    table = Table("collection", "audience", "documents", "size", box=None)
    for one in found:
        table.add_row(one.name, Text(one.audience), str(one.documents), f"{one.size_bytes / 1e6:.1f} MB")
    Console().print(table)


def list_documents(settings: Settings, collection: str, *, as_json: bool) -> None:
    """Print the documents of a collection."""
    with _library(settings) as library:
        after = 0
        while page := library.documents(collection, after=after):
            after = page[-1].id
            for one in page:
                if as_json:
                    print_json(one)
                else:
                    typer.echo(one_line(f"{one.id:>8}  {one.location}  {one.title}"))


def change_audience(settings: Settings, collection: str, audience: str, *, as_json: bool) -> None:
    """Change who may read a collection."""
    wanted = read_audience(audience)
    with audited(settings, "collections audience") as noted:
        with _library(settings) as library:
            library.set_audience(collection, wanted)
        noted.done("audience_changed", collection)
    if as_json:
        print_json({"collection": collection, "audience": audience})
    else:
        typer.echo(f"{collection} is for {audience} now.")


def remove_collection(settings: Settings, collection: str, *, as_json: bool) -> None:
    """Remove a collection with all its documents."""
    with audited(settings, "collections remove") as noted:
        with _library(settings) as library:
            removed = library.remove_collection(collection)
        noted.done("collection_removed", collection, documents=removed)
    if as_json:
        print_json({"collection": collection, "removed": removed})
    else:
        typer.echo(f"{removed} documents removed.")


@contextmanager
def _library(settings: Settings) -> Iterator[Library]:
    settings.data.mkdir(parents=True, exist_ok=True)
    with opened(database_url(settings)) as engine:
        yield Library(engine)
