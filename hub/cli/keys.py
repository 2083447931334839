"""`keys`: API keys from the terminal; works on the database, so a running hub knows them at once."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import orjson
import typer
from rich.console import Console
from rich.table import Column, Table

from hub.database import async_engine, database_url, upgrade
from hub.errors import HubError
from hub.keys import SCOPES, ApiKey, KeyStore
from hub.messages import utc_now
from hub.settings import Settings


@asynccontextmanager
async def _store(settings: Settings) -> AsyncIterator[KeyStore]:
    settings.data.mkdir(parents=True, exist_ok=True)
    url = database_url(settings)
    await asyncio.to_thread(upgrade, url)
    engine = async_engine(url)
    try:
        yield KeyStore(engine, settings.keys.tiers)
    finally:
        await engine.dispose()


def create_key(
    settings: Settings,
    *,
    tier: str,
    label: str,
    days: int | None,
    scopes: Sequence[str] = (),
    as_json: bool,
) -> None:
    """Make a key and print it, the only time it is shown.

    Raises: HubError: there is no such tier or scope.
    """
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise HubError(f"there is no scope {', '.join(unknown)}; scopes are {', '.join(SCOPES)}")

    async def main() -> str:
        async with _store(settings) as store:
            expires_at = utc_now() + timedelta(days=days) if days else None
            given = tuple(sorted(set(scopes)))
            return (await store.create(tier, label=label, expires_at=expires_at, scopes=given)).text

    text = asyncio.run(main())
    limits = settings.keys.tiers[tier]
    if as_json:
        answer = {"api_key": text, "tier": tier, "limit": limits.limit, "window": limits.window_s}
        sys.stdout.write(orjson.dumps(answer).decode() + "\n")
        return
    typer.echo(text)
    typer.echo(
        f"Tier {tier}: {limits.limit} requests in {limits.window_s} s. Keep it safe: it is not shown again.",
        err=True,
    )


def list_keys(settings: Settings, *, as_json: bool) -> None:
    """Print all keys, without their secrets."""

    async def main() -> list[ApiKey]:
        async with _store(settings) as store:
            return list(await store.list())

    keys = asyncio.run(main())
    if as_json:
        rows = [{name: getattr(key, name) for name in ApiKey.__dataclass_fields__} for key in keys]
        sys.stdout.write(orjson.dumps(rows).decode() + "\n")
        return
    # Whole in the narrowest terminal: `revoke` wants it.
    key_id = Column("id", no_wrap=True, min_width=max((len(key.id) for key in keys), default=0))
    table = Table(key_id, "tier", "scopes", "label", "created", "expires", "last used", "state")
    for key in keys:
        state = "revoked" if key.revoked_at else "valid" if key.is_valid(utc_now()) else "expired"
        dates = [
            f"{at:%Y-%m-%d %H:%M}" if at else "-" for at in (key.created_at, key.expires_at, key.last_used_at)
        ]
        table.add_row(key.id, key.tier, " ".join(key.scopes), key.label, *dates, state)
    Console().print(table)


def revoke_key(settings: Settings, key_id: str) -> None:
    """End a key at once.

    Raises: HubError: there is no valid key of this id.
    """

    async def main() -> bool:
        async with _store(settings) as store:
            return await store.revoke(key_id)

    if not asyncio.run(main()):
        raise HubError(f"there is no key {key_id} to revoke; `hubbub keys list` shows them")
    typer.echo(f"Key {key_id} is revoked.")
