"""`dead`: what was given up, shown, put back and dropped; the hub may run meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.table import Column, Table

from hub.admin.dead import Bulk, DeadLetterDesk
from hub.bus.dead import DeadLetter, Wanted
from hub.bus.replaying import Replay
from hub.cli.database import audited, opened_bus
from hub.cli.printing import print_json
from hub.cli.screen import one_line, printable
from hub.errors import HubError
from hub.settings import Settings

Result = TypeVar("Result")

REFUSALS = {
    "REPLAYED": "it was put back before",
    "MISSING": "there is no such dead letter",
    "FULL": "too many messages wait; try again later",
    "LANE_FULL": "too many messages wait in its conversation; try again later",
    "ERASING": "its sender is being erased",
    "UNREADABLE": "it holds nothing that anybody could answer; drop it",
}


def list_letters(settings: Settings, wanted: Wanted, *, most: int, as_json: bool) -> None:
    """Print the latest dead letters, without what was said in them."""
    page = _run(settings, lambda desk: desk.page(wanted, None, most))
    if as_json:
        rows = [shown(letter) for letter in page.letters]
        print_json({"items": rows, "more": page.next is not None})
        return
    # Whole in the narrowest terminal: the other commands want it.
    width = max((len(letter.id) for letter in page.letters), default=0)
    table = Table(Column("id", no_wrap=True, min_width=width), "given up", "queue", "conversation", "reason")
    for letter in page.letters:
        at = f"{letter.at:%Y-%m-%d %H:%M}"
        table.add_row(letter.id, at, *map(one_line, (letter.queue, letter.lane, letter.reason)))
    Console().print(table)
    if page.next is not None:
        typer.echo("There are more; -n shows them.", err=True)


def show_letter(settings: Settings, letter_id: str, *, with_text: bool, as_json: bool) -> None:
    """Print one dead letter; what was said in it only when it is asked for.

    Raises: HubError: there is none of the id.
    """
    letter = _run(settings, lambda desk: desk.one(letter_id))
    if letter is None:
        raise HubError(f"{letter_id}: {REFUSALS['MISSING']}; `hubbub dead list` shows them")
    row = shown(letter)
    if with_text:
        row["body"] = letter.body.decode("utf-8", "replace")
    if as_json:
        print_json(row)
        return
    for name, value in row.items():
        typer.echo(f"{name:14}{printable(str(value))}")


def replay_letters(
    settings: Settings, letter_ids: Sequence[str], wanted: Wanted | None, *, as_json: bool
) -> None:
    """Put dead letters back at the end of their conversations, those named or all that are wanted.

    Raises: HubError: one of them could not be put back.
    """
    with audited(settings, "dead replay") as noted:
        bulk = _run(settings, lambda desk: _replay(desk, letter_ids, wanted))
        if bulk.done:
            noted.done("dead_letters_replayed", letters=bulk.done, left=bulk.refused)
    if as_json:
        refused = [{"id": letter, "why": why.lower()} for letter, why in bulk.reasons]
        print_json({"replayed": bulk.done, "left": bulk.refused, "full": bulk.is_full, "refused": refused})
    else:
        typer.echo(f"{bulk.done} put back.")
        for letter, why in bulk.reasons:
            typer.echo(f"{letter}: {REFUSALS[why]}", err=True)
    if bulk.refused or bulk.is_full:
        why = REFUSALS["FULL"] if bulk.is_full else f"{bulk.refused} could not be put back"
        raise HubError(why)


def drop_letters(
    settings: Settings, letter_ids: Sequence[str], wanted: Wanted | None, *, as_json: bool
) -> None:
    """Remove dead letters for good, those named or all that are wanted.

    Raises: HubError: one that is named is not there.
    """

    async def drop(desk: DeadLetterDesk) -> tuple[int, list[str]]:
        if wanted is not None:
            return await desk.drop_all(wanted), []
        missing = [letter for letter in letter_ids if not await desk.drop(letter)]
        return len(letter_ids) - len(missing), missing

    with audited(settings, "dead drop") as noted:
        dropped, missing = _run(settings, drop)
        if dropped:
            noted.done("dead_letters_dropped", letters=dropped)
    if as_json:
        print_json({"dropped": dropped, "missing": missing})
    else:
        typer.echo(f"{dropped} dropped.")
    if missing:
        raise HubError(f"{', '.join(missing)}: {REFUSALS['MISSING']}")


def shown(letter: DeadLetter) -> dict[str, Any]:
    """Tell of a dead letter all but what was said."""
    return {
        "id": letter.id,
        "given_up_at": letter.at.isoformat(),
        "queue": letter.queue,
        **letter.facts,
    }


async def _replay(desk: DeadLetterDesk, letter_ids: Sequence[str], wanted: Wanted | None) -> Bulk:
    if wanted is not None:
        return await desk.replay_all(wanted)
    bulk = Bulk()
    for letter_id in letter_ids:
        done: Replay = await desk.replay(letter_id)
        if done.status == "OK":
            bulk.done += 1
        else:
            bulk.refuse(letter_id, done.status)
    return bulk


def _run(settings: Settings, work: Callable[[DeadLetterDesk], Awaitable[Result]]) -> Result:
    async def main() -> Result:
        async with opened_bus(settings) as bus:
            return await work(DeadLetterDesk(bus))

    return asyncio.run(main())
