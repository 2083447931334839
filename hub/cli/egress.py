"""`egress`: what may be connected to, and what was; works without a running hub, which alone knows the second."""

import asyncio
import contextlib

from rich.console import Console
from rich.table import Column, Table

from hub.app import redis_url
from hub.bus.connection import connect
from hub.cli.printing import print_json
from hub.cli.screen import printable
from hub.egress.book import EgressBook, EgressEntry
from hub.egress.derive import remote_rules, rules_of
from hub.egress.guard import EgressGuard, present
from hub.egress.rule import Rule
from hub.errors import SettingsError
from hub.model_registry import ModelRegistry
from hub.model_settings import RemoteSettings
from hub.settings import Settings

LAST_WORD_S = 2.0


def show_egress(settings: Settings, *, as_json: bool) -> None:
    """Print the allowlist and the ledger.

    Raises: BusError: the Redis of the settings is away.
    """
    allowed, entries = _allowed(settings), asyncio.run(_entries(settings))
    if as_json:
        shown = {
            "allowed": [
                {"host": rule.host, "port": rule.port, "purpose": rule.purpose, "only_for_it": rule.is_scoped}
                for rule in allowed
            ],
            "connections": [entry.model_dump(mode="json") for entry in entries],
        }
        print_json(shown)
        return
    _print_allowed(allowed)
    _print_entries(entries)


def write_ledger(settings: Settings, guard: EgressGuard) -> None:
    """Write down what a command has counted; gives up at once where no Redis answers."""

    async def main() -> None:
        client = connect(redis_url(settings), connections=1)
        try:
            async with asyncio.timeout(LAST_WORD_S):
                await EgressBook(client).write(guard)
        finally:
            await client.aclose()

    with contextlib.suppress(SettingsError, TimeoutError):
        asyncio.run(main())


def _allowed(settings: Settings) -> list[Rule]:
    added = [
        rule
        for name, model in ModelRegistry(settings).models.items()
        if isinstance(model, RemoteSettings)
        for rule in remote_rules(name, model)
    ]
    return list(dict.fromkeys([*rules_of(settings), *added]))


async def _entries(settings: Settings) -> list[EgressEntry]:
    try:
        url = redis_url(settings)
    except SettingsError:
        return []
    client = connect(url, connections=1)
    try:
        book = EgressBook(client)
        if guard := present():
            await book.write(guard)
        return await book.entries()
    finally:
        await client.aclose()


def _number(name: str) -> Column:
    return Column(name, justify="right")


def _print_allowed(allowed: list[Rule]) -> None:
    table = Table("allowed", "for", box=None, pad_edge=False)
    for rule in allowed:
        table.add_row(str(rule), f"{rule.purpose} alone" if rule.is_scoped else rule.purpose)
    Console().print(table)


def _print_entries(entries: list[EgressEntry]) -> None:
    console = Console()
    if not entries:
        console.print("\nNothing has left this machine.")
        return
    columns = ("process", "to", "for", _number("connections"), _number("refused"), "last")
    table = Table(*columns, box=None, pad_edge=False)
    for entry in entries:
        where = str(Rule(host=entry.host, port=entry.port, purpose=""))
        table.add_row(
            printable(entry.process),
            printable(where),
            printable(entry.purpose or "nothing allowed"),
            str(entry.connections),
            str(entry.refused),
            entry.last.isoformat(timespec="seconds"),
        )
    console.print()
    console.print(table)
