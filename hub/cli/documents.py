"""`ingest` and `search`: the knowledge base from the terminal, with or without a running hub."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from hub.settings import Settings
from knowledge.ingest import ingest
from knowledge.passages import Passage
from knowledge.report import IngestReport, Progress
from knowledge.search import KnowledgeBase


def ingest_paths(settings: Settings, paths: Sequence[Path], *, as_json: bool) -> None:
    """Take files and folders in and print what became of them; exit code 1 when one failed."""
    settings.data.mkdir(parents=True, exist_ok=True)
    with _bar(hidden=as_json) as show:
        report = ingest(settings, paths, show)
    if as_json:
        _print_json(report)
    else:
        _print_report(report)
    if report.failed:
        raise typer.Exit(1)


@contextlib.contextmanager
def _bar(*, hidden: bool) -> Iterator[Callable[[Progress], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ProgressBar(*columns, console=Console(stderr=True), disable=hidden, transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def show(step: Progress) -> None:
            bar.update(task, completed=step.done, total=step.total, description=step.location[-40:])

        yield show


def _print_report(report: IngestReport) -> None:
    console = Console()
    counts = (
        f"{len(report.added)} added, {len(report.replaced)} changed, {len(report.unchanged)} unchanged, "
        f"{len(report.removed)} removed, {len(report.failed)} failed"
    )
    console.print(f"{report.total} documents: {counts}; {report.chunks} passages written.", highlight=False)
    for location, reason in report.failed.items():
        console.print(f"  {location}: {reason}", style="red", markup=False, highlight=False)


def _print_json(report: IngestReport) -> None:
    names = ("total", "added", "replaced", "unchanged", "removed", "failed", "chunks", "complete")
    sys.stdout.write(orjson.dumps({name: getattr(report, name) for name in names}).decode() + "\n")


def search_passages(settings: Settings, query: str, k: int, *, as_json: bool) -> None:
    """Print the passages nearest to a question."""

    async def main() -> list[Passage]:
        base = await KnowledgeBase.open(settings)
        try:
            await base.ready()
            return await base.search(query, k)
        finally:
            await base.close()

    settings.data.mkdir(parents=True, exist_ok=True)
    passages = asyncio.run(main())
    if as_json:
        rows = [
            {
                "source": one.location,
                "title": one.title,
                "heading": one.heading,
                "text": one.text,
                "score": one.score,
            }
            for one in passages
        ]
        sys.stdout.write(orjson.dumps(rows).decode() + "\n")
        return
    console = Console()
    if not passages:
        console.print("The knowledge base is empty; add documents with `hubbub ingest PATH`.")
    for passage in passages:
        heading = f" - {passage.heading}" if passage.heading else ""
        console.print(
            f"{passage.score:.2f} {passage.location}{heading}", style="bold", markup=False, highlight=False
        )
        console.print(passage.text, markup=False, highlight=False)
        console.print()
