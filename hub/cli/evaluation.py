"""`eval`: how well the documents are found, by labelled questions; with or without a running hub."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from hub.cli.printing import print_json
from hub.errors import KnowledgeError
from hub.settings import Settings
from knowledge.evaluation import RECALL_AT, Evaluation, Judged, evaluate
from knowledge.evaluation_page import evaluation_page
from knowledge.questions import LabelledQuestion, read_labelled
from knowledge.search import KnowledgeBase


def evaluate_retrieval(settings: Settings, file: Path, *, page: Path | None, as_json: bool) -> None:
    """Ask every labelled question, print the numbers, and write the report as a page where one is wanted.

    Raises: KnowledgeError: the questions cannot be read, the page not be written, or the knowledge base not be used.
    """
    questions = read_labelled(file)
    settings.data.mkdir(parents=True, exist_ok=True)
    with _bar(len(questions), hidden=as_json) as show:
        evaluation = asyncio.run(_evaluate(settings, file.name, questions, show))
    if page:
        _write(page, evaluation)
    if as_json:
        print_json(asdict(evaluation))
    else:
        _print(evaluation, page)


async def _evaluate(
    settings: Settings, name: str, questions: list[LabelledQuestion], show: Callable[[int], None]
) -> Evaluation:
    base = await KnowledgeBase.open(settings)
    try:
        await base.ready()
        version = await base.current_version()
        judged = Judged(
            at=datetime.now(UTC), name=name, ranking=base.ranking, version=version, chunks=base.size
        )
        return await evaluate(base.search, questions, judged, show)
    finally:
        await base.close()


@contextmanager
def _bar(total: int, *, hidden: bool) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ProgressBar(*columns, console=Console(stderr=True), disable=hidden, transient=True) as bar:
        task = bar.add_task("asking", total=total)
        yield lambda done: bar.update(task, completed=done)


def _write(page: Path, evaluation: Evaluation) -> None:
    try:
        page.write_text(evaluation_page(evaluation), "utf-8")
    except OSError as error:
        raise KnowledgeError(f"{page} cannot be written: {error.strerror}") from error


def _print(evaluation: Evaluation, page: Path | None) -> None:
    typer.echo(f"questions    {len(evaluation.questions)}, of {evaluation.chunks} passages")
    for k in RECALL_AT:
        typer.echo(f"recall@{k:<5} {evaluation.recall[k]:.3f}")
    typer.echo(f"MRR          {evaluation.mrr:.3f}")
    typer.echo(f"nDCG@10      {evaluation.ndcg:.3f}")
    typer.echo(f"search       {evaluation.p50_ms:.0f} ms at the median, {evaluation.p95_ms:.0f} ms at p95")
    if missed := [report.question for report in evaluation.questions if not report.rank]:
        typer.echo(f"not found    {len(missed)}: {missed[0]}{' ...' if len(missed) > 1 else ''}")
    if page:
        typer.echo(f"report       {page}")
