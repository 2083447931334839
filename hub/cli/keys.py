"""`keys`: API keys from the terminal; works on the database, so a running hub knows them at once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import typer
from rich.console import Console
from rich.table import Column, Table

from hub.cli.database import audited, opened_database
from hub.cli.printing import print_json
from hub.cli.screen import one_line
from hub.cli.times import read_span
from hub.errors import HubError
from hub.key_usage import KeyUsage, UsageBook
from hub.keys import LONGEST_OVERLAP, SCOPES, ApiKey, KeyStore, NewKey
from hub.messages import utc_now
from hub.settings import Settings


@asynccontextmanager
async def _store(settings: Settings) -> AsyncIterator[KeyStore]:
    async with opened_database(settings) as engine:
        yield KeyStore(engine, settings.keys.tiers)


def create_key(
    settings: Settings,
    *,
    tier: str,
    label: str,
    days: int | None,
    scopes: Sequence[str] = (),
    networks: Sequence[str] = (),
    as_json: bool,
) -> None:
    """Make a key and print it, the only time it is shown.

    Raises: HubError: there is no such tier or scope, or a network is none.
    """
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise HubError(f"there is no scope {', '.join(unknown)}; scopes are {', '.join(SCOPES)}")
    allowed = [_network(text) for text in networks]

    async def main() -> NewKey:
        async with _store(settings) as store:
            expires_at = utc_now() + timedelta(days=days) if days else None
            given = sorted(set(scopes))
            return await store.create(
                tier, label=label, expires_at=expires_at, scopes=given, networks=allowed
            )

    with audited(settings, "keys create") as noted:
        made = asyncio.run(main())
        noted.done("key_created", made.key.id)
    _show_new(settings, made, as_json=as_json)


def rotate_key(settings: Settings, key_id: str, *, overlap: str, as_json: bool) -> None:
    """Give a key a new secret and print it; the old one works until the overlap is over.

    Raises: HubError: there is no such key, it has ended, or the overlap is no span of time.
    """
    span = read_overlap(overlap)

    async def main() -> NewKey | None:
        async with _store(settings) as store:
            return await store.rotate(key_id, overlap=span)

    with audited(settings, "keys rotate") as noted:
        made = asyncio.run(main())
        if made is None:
            raise _no_such(key_id)
        noted.done("key_rotated", key_id, overlap_s=int(span.total_seconds()))
    _show_new(settings, made, as_json=as_json)


def list_keys(settings: Settings, *, as_json: bool) -> None:
    """Print all keys, without their secrets."""

    async def main() -> list[ApiKey]:
        async with _store(settings) as store:
            return list(await store.list())

    keys = asyncio.run(main())
    if as_json:
        print_json([asdict(key) for key in keys])
        return
    # Whole in the narrowest terminal: `revoke` wants it.
    key_id = Column("id", no_wrap=True, min_width=max((len(key.id) for key in keys), default=0))
    table = Table(key_id, "tier", "scopes", "label", "created", "expires", "last used", "state")
    for key in keys:
        dates = [
            f"{at:%Y-%m-%d %H:%M}" if at else "-" for at in (key.created_at, key.expires_at, key.last_used_at)
        ]
        table.add_row(key.id, key.tier, " ".join(key.scopes), one_line(key.label), *dates, _state(key))
    Console().print(table)


def revoke_key(settings: Settings, key_id: str, *, as_json: bool = False) -> None:
    """End a key at once.

    Raises: HubError: there is no valid key of this id.
    """

    async def main() -> bool:
        async with _store(settings) as store:
            return await store.revoke(key_id)

    with audited(settings, "keys revoke") as noted:
        if not asyncio.run(main()):
            raise HubError(f"there is no key {key_id} to revoke; `hubbub keys list` shows them")
        noted.done("key_revoked", key_id)
    if as_json:
        print_json({"revoked": key_id})
        return
    typer.echo(f"Key {key_id} is revoked.")


def show_usage(settings: Settings, key_id: str, *, days: int, as_json: bool) -> None:
    """Print what was asked with a key in the latest days, as a running hub has counted it.

    Raises: HubError: there is no such key.
    """
    last = utc_now().date()
    first = last - timedelta(days=days - 1)

    async def main() -> list[KeyUsage]:
        async with opened_database(settings) as engine:
            if await KeyStore(engine, settings.keys.tiers).one(key_id) is None:
                raise _no_such(key_id)
            return await UsageBook(engine).of(key_id, first, last)

    found = asyncio.run(main())
    if as_json:
        print_json([asdict(one) for one in found])
        return
    table = Table("day", "model", "requests", "prompt tokens", "answer tokens")
    for one in found:
        numbers = (one.requests, one.prompt_tokens, one.answer_tokens)
        table.add_row(one.day.isoformat(), one_line(one.model) or "-", *map(str, numbers))
    Console().print(table)


def read_overlap(text: str) -> timedelta:
    """Read for how long the old secret of a key works as well.

    Raises: HubError: it is no span of time, or a longer one than an overlap may be.
    """
    span = read_span(text)
    if span > LONGEST_OVERLAP:
        raise HubError(f"two secrets of a key may work for {LONGEST_OVERLAP.days} days at most")
    return span


def _show_new(settings: Settings, made: NewKey, *, as_json: bool) -> None:
    tier = made.key.tier
    limits = settings.keys.tiers.get(tier)
    if as_json:
        answer: dict[str, Any] = {"api_key": made.text, "tier": tier, "id": made.key.id}
        if limits is not None:
            answer |= {"limit": limits.limit, "window": limits.window_s}
        if made.key.old_secret_until is not None:
            answer["old_secret_until"] = made.key.old_secret_until
        print_json(answer)
        return
    typer.echo(made.text)
    if limits is not None:
        typer.echo(f"Tier {tier}: {limits.limit} requests in {limits.window_s} s.", err=True)
    if made.key.old_secret_until is not None:
        typer.echo(f"The old one works until {made.key.old_secret_until:%Y-%m-%d %H:%M} UTC.", err=True)
    typer.echo("Keep it safe: it is not shown again.", err=True)


def _state(key: ApiKey) -> str:
    now = utc_now()
    if key.revoked_at:
        return "revoked"
    if not key.is_valid(now):
        return "expired"
    is_overlapping = key.old_secret_until is not None and now < key.old_secret_until
    return "valid, two secrets" if is_overlapping else "valid"


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise HubError(f"expected a network such as 10.0.0.0/8 or one address: {error}") from None


def _no_such(key_id: str) -> HubError:
    return HubError(f"there is no key {key_id}; `hubbub keys list` shows them")
