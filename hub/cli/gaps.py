"""`gaps`: the questions to which the documents hold no answer; works on the database, with or without a running hub."""

import asyncio
import csv
import sys
from collections.abc import Sequence
from typing import Literal

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from hub.cli.database import audited, opened_database
from hub.cli.printing import print_json
from hub.cli.screen import printable
from hub.errors import HubError, KnowledgeError
from hub.settings import Settings
from knowledge.gaps.lookup import Lookup
from knowledge.gaps.store import Gap, GapStore

Form = Literal["table", "json", "csv"]
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def show_gaps(settings: Settings, *, form: Form, most: int, look_up: bool, dismiss: int = 0) -> None:
    """Print the gaps, those asked most often first; look them up or remove one before, where that is wanted.

    Raises: HubError: there is no such gap, or the settings allow no looking up.
    """
    if dismiss or look_up:
        with audited(settings, "gaps --dismiss" if dismiss else "gaps --look-up") as noted:
            gaps = asyncio.run(_gaps(settings, most=most, look_up=look_up, dismiss=dismiss))
            noted.done(*(("gap_forgotten", str(dismiss)) if dismiss else ("gaps_looked_up", "")))
    else:
        gaps = asyncio.run(_gaps(settings, most=most))
    match form:
        case "json":
            print_json([_document(gap) for gap in gaps])
        case "csv":
            _print_csv(gaps)
        case "table":
            _print_table(gaps)


async def _gaps(settings: Settings, *, most: int, look_up: bool = False, dismiss: int = 0) -> list[Gap]:
    lookup = Lookup(settings.gaps) if look_up else None
    async with opened_database(settings) as engine:
        store = GapStore(engine, settings.gaps)
        if dismiss:
            await _dismiss(store, dismiss)
        gaps = (await store.gaps())[:most]
        if lookup is not None:
            await _look_up(store, lookup, gaps)
            gaps = (await store.gaps())[:most]
        return gaps


async def _dismiss(store: GapStore, gap_id: int) -> None:
    named = next((gap for gap in await store.gaps() if gap_id in gap.questions), None)
    if named is None:
        raise HubError(f"there is no gap {gap_id}")
    await store.dismiss(named)


async def _look_up(store: GapStore, lookup: Lookup, gaps: Sequence[Gap]) -> None:
    failures = 0
    for gap in gaps:
        if gap.is_looked_up:
            continue
        try:
            await store.propose(gap.id, await lookup.ask(gap.question))
        except KnowledgeError as error:
            failures += 1
            sys.stderr.write(f"hubbub: {error}\n")
            # Whoever does not answer three times will not do so the next hundred times.
            if failures == 3:
                return


def _document(gap: Gap) -> dict[str, object]:
    return {
        "id": gap.id,
        "question": gap.question,
        "count": gap.count,
        "first_asked": gap.first_asked.isoformat(),
        "last_asked": gap.last_asked.isoformat(),
        "connectors": gap.connectors,
        "examples": gap.examples,
        "looked_up": gap.is_looked_up,
        "proposals": gap.proposals,
    }


def _print_csv(gaps: Sequence[Gap]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(
        ["id", "count", "question", "first_asked", "last_asked", "connectors", "examples", "proposals"]
    )
    for gap in gaps:
        proposals = " | ".join(
            f"{each.get('title', '')} {each.get('url', '')}".strip() for each in gap.proposals
        )
        texts = [gap.question, gap.first_asked.isoformat(), gap.last_asked.isoformat()]
        more = [" ".join(gap.connectors), " | ".join(gap.examples), proposals]
        writer.writerow([gap.id, gap.count, *map(_cell, [*texts, *more])])


def _cell(text: str) -> str:
    # A spreadsheet computes what begins like a formula, whoever wrote it.
    return f"'{text}" if text.startswith(_FORMULA) else text


def _print_table(gaps: Sequence[Gap]) -> None:
    if not gaps:
        typer.echo("There are no questions that the documents could not answer.")
        return
    columns = (
        Column("id", no_wrap=True),
        Column("asked", justify="right"),
        "question",
        Column("last", no_wrap=True),
    )
    table = Table(*columns, box=None, pad_edge=False)
    for gap in gaps:
        found = "".join(
            f"\n→ {each.get('title') or each.get('url') or each['text'][:80]}" for each in gap.proposals
        )
        text = Text(printable(gap.question + found))
        table.add_row(str(gap.id), str(gap.count), text, gap.last_asked.date().isoformat())
    Console().print(table)
