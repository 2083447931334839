"""API keys in a real database."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.database import DatabaseError, async_engine
from hub.keys import KeyStore, UnknownTier
from hub.messages import utc_now

TIERS = ("free", "pro")


@pytest.fixture
async def engine(every_database: str) -> AsyncIterator[AsyncEngine]:
    """A new database, of each kind in turn."""
    opened = async_engine(every_database)
    yield opened
    await opened.dispose()


async def test_a_new_key_opens(engine: AsyncEngine) -> None:
    """The text that was shown once is recognised, with what it was made for."""
    keys = KeyStore(engine, TIERS)
    made = await keys.create("pro", label="billing")

    found = await keys.verify(made.text)

    assert found is not None
    assert (found.id, found.tier, found.label) == (made.key.id, "pro", "billing")
    assert made.text.startswith(f"cc_live_{made.key.id}_")


async def test_the_database_never_sees_the_secret(engine: AsyncEngine) -> None:
    """Only the SHA-256 is stored, and it is neither listed nor shown."""
    keys = KeyStore(engine, TIERS)
    made = await keys.create("free")
    secret = made.text.split("_", 3)[3]

    async with engine.connect() as connection:
        rows = repr((await connection.execute(text("SELECT * FROM api_keys"))).all())

    digest = hashlib.sha256(made.text.encode()).hexdigest()
    assert digest in rows
    assert secret not in rows
    assert secret not in repr(made)
    assert digest not in repr(await keys.list())
    assert len(secret) >= 43


async def test_what_is_no_key_opens_nothing(engine: AsyncEngine) -> None:
    """Wrong secrets, unknown ids, the hash itself and odd text are all the same: no."""
    keys = KeyStore(engine, TIERS)
    made = await keys.create("pro")
    digest = hashlib.sha256(made.text.encode()).hexdigest()
    swapped = made.text[:-1] + ("A" if made.text[-1] != "A" else "B")

    tried = ["", digest, f"cc_live_{made.key.id}_{digest}", swapped, made.text + "\n", made.text.upper()]
    tried += [
        made.text.replace(made.key.id, "0" * 12),
        f"cc_live_{made.key.id}",
        "cc_live_' OR 1=1",
        "é" * 400,
    ]

    assert [await keys.verify(candidate) for candidate in tried] == [None] * len(tried)


async def test_revoked_and_expired_keys_open_nothing(engine: AsyncEngine) -> None:
    """A key ends at once, for every process."""
    keys, elsewhere = KeyStore(engine, TIERS), KeyStore(engine, TIERS)
    revoked = await keys.create("pro")
    expired = await keys.create("pro", expires_at=utc_now() - timedelta(seconds=1))
    lasting = await keys.create("pro", expires_at=utc_now() + timedelta(hours=1))
    assert await elsewhere.verify(revoked.text)

    assert await keys.revoke(revoked.key.id)

    assert await elsewhere.verify(revoked.text) is None
    assert await keys.verify(expired.text) is None
    assert await keys.verify(lasting.text)
    assert not await keys.revoke(revoked.key.id)
    assert not await keys.revoke("nobody")


async def test_use_is_noted_once_a_minute(engine: AsyncEngine) -> None:
    """The first of many uses is written, the others are not."""
    keys = KeyStore(engine, TIERS)
    made = await keys.create("pro")

    await asyncio.gather(*(keys.verify(made.text) for _ in range(20)))
    first = (await keys.list())[0].last_used_at
    await keys.verify(made.text)
    await KeyStore(engine, TIERS).verify(made.text)

    assert first is not None
    assert (await keys.list())[0].last_used_at == first


async def test_keys_need_a_known_tier(engine: AsyncEngine) -> None:
    """A tier nobody has set up makes no key."""
    keys = KeyStore(engine, TIERS)

    with pytest.raises(UnknownTier):
        await keys.create("admin")

    assert await keys.list() == []


async def test_a_missing_table_is_said(data: Path) -> None:
    """A database that cannot answer is our error, not the library's, and tells nothing of the key."""
    engine = async_engine(f"sqlite:///{data / 'empty.db'}")

    with pytest.raises(DatabaseError):
        await KeyStore(engine, TIERS).verify(f"cc_live_{'0' * 12}_{'x' * 43}")

    await engine.dispose()
