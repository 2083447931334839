"""`erase`: removes a person everywhere, shows the receipt, checks receipts, and looks for what may be left."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from hub.app.erasure import opened_eraser
from hub.cli.database import audited, opened_bus
from hub.cli.printing import print_json
from hub.cli.progress import working
from hub.database import database_url
from hub.erasure.person import Person, parse_identity
from hub.erasure.receipt import ErasureReceipt, read_receipt
from hub.erasure.scanner import Found, scan_files, scan_redis, scan_tables
from hub.errors import HubError
from hub.settings import Settings


def erase_person(settings: Settings, identities: Sequence[str], *, yes: bool, as_json: bool) -> None:
    """Remove whoever these identities are, after asking, and print the receipt.

    Raises: HubError: an identity cannot be read, no hub runs, or something is still there.
    """
    named = [parse_identity(identity) for identity in identities]

    async def find() -> Person:
        async with opened_eraser(settings) as eraser:
            return await eraser.find(*named)

    async def erase() -> ErasureReceipt:
        async with opened_eraser(settings) as eraser:
            return await eraser.erase(*named)

    if not yes:
        person = asyncio.run(find())
        typer.echo(
            f"{len(person.marks)} identities, {len(person.conversations)} conversations of their own, "
            f"{len(person.groups)} groups, {len(person.turns)} turns.",
            err=True,
        )
        typer.confirm("Remove all of it? This cannot be undone.", abort=True)
    with audited(settings, "erase") as noted:
        with working("removing them everywhere, and looking again", hidden=as_json):
            receipt = asyncio.run(erase())
        noted.done("person_erased", receipt.id)
    _show(receipt, as_json=as_json)


def resume_erasures(settings: Settings, *, as_json: bool) -> None:
    """Go on with what was not finished, and print the receipts."""

    async def main() -> list[ErasureReceipt]:
        async with opened_eraser(settings) as eraser:
            return await eraser.resume()

    with audited(settings, "erase --resume") as noted:
        receipts = asyncio.run(main())
        if receipts:
            noted.done("person_erased", " ".join(receipt.id for receipt in receipts))
    if not receipts and not as_json:
        typer.echo("No erasure was left unfinished.")
    for receipt in receipts:
        _show(receipt, as_json=as_json)


def verify_receipt(settings: Settings, file: Path, *, as_json: bool) -> None:
    """Tell whether a receipt is this hub's.

    Raises: HubError: it is not, or cannot be read.
    """
    try:
        receipt = read_receipt(file.read_bytes())
    except OSError as error:
        raise HubError(f"{file} cannot be read: {error.strerror}") from error

    async def key() -> bytes:
        async with opened_eraser(settings) as eraser:
            return await eraser.key()

    receipt.verify(asyncio.run(key()))
    if as_json:
        print_json({"id": receipt.id, "finished_at": receipt.finished_at.isoformat(), "valid": True})
    else:
        typer.echo(f"Receipt {receipt.id} was made by this hub on {receipt.finished_at:%Y-%m-%d %H:%M} UTC.")


def look_for(settings: Settings, words: Sequence[str], *, as_json: bool) -> None:
    """Print every file of the data folder, key of Redis and table of PostgreSQL in which a word stands.

    Raises: HubError: no hub runs, or something was found.
    """
    found = asyncio.run(_places(settings, words))
    if as_json:
        print_json([{"place": one.place, "word": one.word} for one in found])
    else:
        for one in found:
            typer.echo(one.place)
    if found:
        raise HubError(f"found in {len({one.place for one in found})} places")
    if not as_json:
        typer.echo("Nothing found.")


async def _places(settings: Settings, words: Sequence[str]) -> list[Found]:
    found = await asyncio.to_thread(lambda: list(scan_files([settings.data], words)))
    found += await asyncio.to_thread(lambda: list(scan_tables(database_url(settings), words)))
    async with opened_bus(settings) as bus:
        return found + [one async for one in scan_redis(bus.redis, words)]


def _show(receipt: ErasureReceipt, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(receipt.model_dump_json() + "\n")
        return
    table = Table("store", "removed", "left", title=f"Receipt {receipt.id}", title_justify="left")
    for name, number in receipt.removed.items():
        table.add_row(name, str(number), str(receipt.left.get(name, 0)))
    console = Console()
    console.print(table)
    console.print(
        f"Written anew: {', '.join(receipt.files)}. With --json the receipt can be kept and checked."
    )
