"""`index`: the search index as a whole; works on the data folder, so a running hub notices what changes."""

from dataclasses import asdict

import typer

from hub.cli.database import audited
from hub.cli.printing import print_json
from hub.cli.progress import working
from hub.settings import Settings
from knowledge.maintenance import IndexInfo, build, describe, reset


def show_index(settings: Settings, *, as_json: bool) -> None:
    """Print what the index holds."""
    settings.data.mkdir(parents=True, exist_ok=True)
    _print(describe(settings), as_json=as_json)


def build_index(settings: Settings, *, as_json: bool) -> None:
    """Build the index anew and print what it holds."""
    settings.data.mkdir(parents=True, exist_ok=True)
    with audited(settings, "index build") as noted:
        with working("building the index", hidden=as_json):
            info = build(settings)
        noted.done("index_built", documents=info.documents)
    _print(info, as_json=as_json)


def reset_index(settings: Settings, *, as_json: bool) -> None:
    """Remove every document that was added."""
    settings.data.mkdir(parents=True, exist_ok=True)
    with audited(settings, "index reset") as noted:
        removed = reset(settings)
        noted.done("documents_removed", documents=removed)
    if as_json:
        print_json({"removed": removed})
    else:
        typer.echo(f"{removed} documents removed. The project's own documents stay.")


def _print(info: IndexInfo, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(info))
        return
    kind = {"flat": "flat, exact", "hnsw": "HNSW, approximate"}.get(info.kind, "none yet")
    typer.echo(f"documents    {info.documents}")
    typer.echo(f"passages     {info.chunks}")
    typer.echo(f"index        {kind}, {info.size_bytes / 1e6:.1f} MB")
    typer.echo(f"embedding    {info.model}, {info.dimension} dimensions")
    typer.echo(f"version      {info.version}")
