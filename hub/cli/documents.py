"""`ingest` and `search`: the knowledge base from the terminal, with or without a running hub."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from hub.app.audiences import read_audience
from hub.cli.database import audited
from hub.cli.printing import print_json
from hub.cli.screen import one_line, printable
from hub.settings import Settings
from knowledge.audience import reader_as
from knowledge.ingest import ingest
from knowledge.passages import Passage
from knowledge.report import IngestReport, Progress
from knowledge.search import KnowledgeBase
from knowledge.sources.named import Named, sources_of
from knowledge.sources.web import is_page


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be taken in, and for whom."""

    paths: Sequence[str] = ()
    """Files, folders, and addresses of web pages."""
    page_lists: Sequence[Path] = ()
    mailboxes: Sequence[Path] = ()
    repositories: Sequence[str] = ()
    collection: str
    audience: str | None = None
    code: bool = False
    """Whether source code in folders is taken in, too."""
    may_empty: bool = False
    """Whether what holds nothing any more is meant to."""


def ingest_documents(settings: Settings, wanted: Wanted, *, as_json: bool) -> None:
    """Take documents in and print what became of them; exit code 1 when one failed."""
    pages = [path for path in wanted.paths if is_page(path)]
    paths = [Path(path) for path in wanted.paths if not is_page(path)]
    for path in paths:
        if not path.exists() and not wanted.may_empty:
            raise typer.BadParameter(f"Path '{path}' does not exist.", param_hint="PATHS")
    named = Named(
        pages=pages,
        page_lists=wanted.page_lists,
        mailboxes=wanted.mailboxes,
        repositories=wanted.repositories,
    )
    sources = sources_of(named, settings)
    if not paths and not sources:
        raise typer.BadParameter("name at least one file, folder, page, mailbox or repository")
    settings.data.mkdir(parents=True, exist_ok=True)
    audience = None if wanted.audience is None else read_audience(wanted.audience)
    with audited(settings, "ingest") as noted, _bar(hidden=as_json) as show:
        report = ingest(
            settings,
            paths,
            show,
            collection=wanted.collection,
            audience=audience,
            sources=sources,
            code=wanted.code,
            may_empty=wanted.may_empty,
        )
        counted = ("added", "replaced", "removed")
        numbers = {name: len(getattr(report, name)) for name in counted}
        if any(numbers.values()):
            noted.done("documents_ingested", wanted.collection, **numbers)
    if as_json:
        _print_json(report)
    else:
        _print_report(report)
    if report.failed:
        raise typer.Exit(1)


@contextlib.contextmanager
def _bar(*, hidden: bool) -> Iterator[Callable[[Progress], None]]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with ProgressBar(*columns, console=Console(stderr=True), disable=hidden, transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def show(step: Progress) -> None:
            bar.update(task, completed=step.done, total=step.total, description=one_line(step.location)[-40:])

        yield show


def _print_report(report: IngestReport) -> None:
    console = Console()
    counts = (
        f"{len(report.added)} added, {len(report.replaced)} changed, {len(report.unchanged)} unchanged, "
        f"{len(report.removed)} removed, {len(report.failed)} failed"
    )
    console.print(f"{report.total} documents: {counts}; {report.chunks} passages written.", highlight=False)
    if left_out := report.code_left_out:
        told = "1 file of source code was left out: --code takes it in."
        if left_out > 1:
            told = f"{left_out} files of source code were left out: --code takes them in."
        console.print(told, highlight=False)
    for location, reason in report.failed.items():
        console.print(one_line(f"  {location}: {reason}"), style="red", markup=False, highlight=False)


def _print_json(report: IngestReport) -> None:
    names = (
        "total",
        "added",
        "replaced",
        "unchanged",
        "removed",
        "failed",
        "chunks",
        "code_left_out",
        "complete",
    )
    print_json({name: getattr(report, name) for name in names})


def search_passages(settings: Settings, query: str, k: int, *, audience: str, as_json: bool) -> None:
    """Print the passages nearest to a question, as somebody of an audience finds them."""
    reader = reader_as(read_audience(audience))

    async def main() -> list[Passage]:
        base = await KnowledgeBase.open(settings)
        try:
            await base.ready()
            return await base.search(query, k, reader)
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
                "audience": one.audience,
            }
            for one in passages
        ]
        print_json(rows)
        return
    console = Console()
    if not passages:
        console.print("The knowledge base is empty; add documents with `hubbub ingest PATH`.")
    for passage in passages:
        heading = f" - {passage.heading}" if passage.heading else ""
        origin = one_line(f"{passage.score:.2f} {passage.location}{heading}")
        console.print(origin, style="bold", markup=False, highlight=False)
        console.print(printable(passage.text), markup=False, highlight=False)
        console.print()
