"""API keys in a real database."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.database import DatabaseError, async_engine, upgrade
from hub.key_tables import ApiKeyRow, EarlierSecretRow, KeyFilter
from hub.keys import MOST_SECRETS, KeyStore, NewKey, NotRotated, UnknownTier
from hub.messages import utc_now

TIERS = ("free", "pro")


@pytest.fixture
async def engine(every_database: str) -> AsyncIterator[AsyncEngine]:
    """A new database, of each kind in turn."""
    opened = async_engine(every_database)
    yield opened
    await opened.dispose()


@pytest.fixture
async def light(data: Path) -> AsyncIterator[AsyncEngine]:
    """A new database of SQLite, for what is the same on each kind."""
    upgrade(url := f"sqlite:///{data / 'hubbub.db'}")
    opened = async_engine(url)
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


async def test_both_secrets_open_until_the_overlap_ends(engine: AsyncEngine) -> None:
    """They are one key, with the same id and rights; the older one ends by the clock, in every process."""
    keys, elsewhere = KeyStore(engine, TIERS), KeyStore(engine, TIERS)
    made = await keys.create("pro", label="billing", scopes=("models",), networks=("10.0.0.0/8",))

    second = await keys.rotate(made.key.id, overlap=timedelta(hours=24))
    third = await keys.rotate(made.key.id, overlap=timedelta(hours=1))

    assert second is not None
    assert third is not None
    assert len({made.text, second.text, third.text}) == 3
    for opened in (made.text, second.text, third.text):
        found = await elsewhere.verify(opened)
        assert found is not None
        assert (found.id, found.tier, found.scopes, found.networks) == (
            *(made.key.id, "pro", ("models",)),
            ("10.0.0.0/8",),
        )
        assert found.old_secret_until is not None
        assert found.old_secret_until - utc_now() > timedelta(hours=23)
    row, hour = EarlierSecretRow, timedelta(hours=2)
    async with engine.begin() as connection:
        await connection.execute(update(row).where(row.until < utc_now() + hour).values(until=utc_now()))
    assert await elsewhere.verify(second.text) is None
    assert await elsewhere.verify(made.text)
    assert await keys.revoke(made.key.id)
    assert [await keys.verify(one.text) for one in (made, second, third)] == [None] * 3


async def test_a_secret_that_was_lost_ends_at_once(light: AsyncEngine) -> None:
    """Without an overlap only the new one opens, whichever came before."""
    keys = KeyStore(light, TIERS)
    made = await keys.create("pro")
    second = await keys.rotate(made.key.id, overlap=timedelta(days=1))

    third = await keys.rotate(made.key.id, overlap=timedelta(0))

    assert second is not None
    assert third is not None
    assert await keys.verify(made.text) is None
    assert await keys.verify(second.text) is None
    assert await keys.verify(third.text)
    assert (await keys.list())[0].old_secret_until is None


async def test_rotations_at_once_each_leave_a_secret_that_opens(engine: AsyncEngine) -> None:
    """None overwrites what another has just handed out; more secrets than a key may have are refused."""
    keys = KeyStore(engine, TIERS)
    made = await keys.create("pro")

    rotating = (keys.rotate(made.key.id, overlap=timedelta(hours=1)) for _ in range(MOST_SECRETS + 2))
    outcomes = await asyncio.gather(*rotating, return_exceptions=True)

    fresh = [one for one in outcomes if not isinstance(one, BaseException)]
    assert len(fresh) == MOST_SECRETS
    assert all(isinstance(one, NotRotated) for one in outcomes if isinstance(one, BaseException))
    assert await keys.verify(made.text)
    for one in fresh:
        assert one is not None
        assert await keys.verify(one.text)


async def test_only_a_valid_key_gets_a_new_secret(light: AsyncEngine) -> None:
    """What has ended does not come back by it."""
    keys = KeyStore(light, TIERS)
    revoked = await keys.create("pro")
    expired = await keys.create("pro", expires_at=utc_now() - timedelta(seconds=1))
    await keys.revoke(revoked.key.id)

    for key in (revoked.key, expired.key):
        with pytest.raises(NotRotated):
            await keys.rotate(key.id, overlap=timedelta(hours=1))
    assert await keys.rotate("0" * 12, overlap=timedelta(hours=1)) is None


async def test_a_key_of_an_earlier_system_opens_by_its_digest(engine: AsyncEngine) -> None:
    """Whatever it looks like; once it is rotated, the old text opens as long as it was given."""
    keys, old = KeyStore(engine, TIERS), "sk-old-system-0123456789abcdef"
    made = await keys.create("free")
    digest = hashlib.sha256(old.encode()).hexdigest()
    async with engine.begin() as connection:
        await connection.execute(update(ApiKeyRow).where(ApiKeyRow.id == made.key.id).values(hash=digest))

    found = await keys.verify(old)
    fresh = await keys.rotate(made.key.id, overlap=timedelta(hours=1))

    assert found is not None
    assert found.id == made.key.id
    assert fresh is not None
    assert [(await keys.verify(one)) is not None for one in (old, fresh.text)] == [True, True]
    tried = [made.text, digest, f"{old}x", old.upper(), old[:15], "x" * 201, f"{old}\n", "' OR '1'='1' -- x"]
    assert [await keys.verify(candidate) for candidate in tried] == [None] * len(tried)


async def test_a_key_is_changed(light: AsyncEngine) -> None:
    """What is not named stays, and its secret goes on to open."""
    keys = KeyStore(light, TIERS)
    made = await keys.create("free", label="old", scopes=("models",))

    changed = await keys.change(made.key.id, {"tier": "pro", "label": "new", "networks": ("::1/128",)})

    assert changed is not None
    assert (changed.tier, changed.label, changed.scopes) == ("pro", "new", ("models",))
    assert await keys.verify(made.text) == changed
    assert await keys.change("0" * 12, {"label": "x"}) is None
    with pytest.raises(UnknownTier):
        await keys.change(made.key.id, {"tier": "gold"})
    with pytest.raises(ValueError, match="hash"):
        await keys.change(made.key.id, {"hash": "0" * 64})


async def test_a_key_is_for_its_networks(light: AsyncEngine) -> None:
    """None named is everywhere; a socket of this machine is in no network."""
    made = await KeyStore(light, TIERS).create("free", networks=("10.0.0.0/8", "2001:db8::/32"))

    asked = [ip_address(text) for text in ("10.1.2.3", "11.1.2.3", "2001:db8::1", "2001:db9::1")]

    assert [made.key.admits(address) for address in asked] == [True, False, True, False]
    assert not made.key.admits(None)
    assert replace(made.key, networks=()).admits(None)


async def test_pages_of_keys_hold_each_once(light: AsyncEngine) -> None:
    """Also those of the same moment."""
    keys = KeyStore(light, TIERS)
    for _ in range(7):
        await keys.create("free")
    async with light.begin() as connection:
        await connection.execute(update(ApiKeyRow).values(created_at=utc_now()))
    found: list[str] = []
    after = None
    while page := await keys.page(after, 3):
        found += [key.id for key in page]
        after = page[-1].created_at, page[-1].id

    assert len(found) == len(set(found)) == 7


async def test_keys_are_chosen_by_what_they_are(engine: AsyncEngine) -> None:
    """The same by every database, also what a pattern would mean, and lists of scopes."""
    keys, now = KeyStore(engine, TIERS), utc_now()
    valid = await keys.create("free", label="Web 100%", scopes=("models", "admin"))
    expired = await keys.create("pro", label="web_2", expires_at=now - timedelta(days=1))
    revoked = await keys.create("pro", label="web x2", scopes=("admin",))
    await keys.revoke(revoked.key.id)

    async def found(**which: Any) -> list[str]:
        return sorted(key.id for key in await keys.page(which=KeyFilter(**which)))

    def ids(*made: NewKey) -> list[str]:
        return sorted(one.key.id for one in made)

    assert await found() == await found(label="WEB") == ids(valid, expired, revoked)
    assert await found(tier="pro") == ids(expired, revoked)
    assert await found(label="%") == await found(scope="models") == ids(valid)
    assert await found(label="b_") == ids(expired)
    assert await found(label="\0") == []
    assert await found(scope="admin") == ids(valid, revoked)
    assert [await found(state=state) for state in ("valid", "expired", "revoked")] == [
        ids(one) for one in (valid, expired, revoked)
    ]
    assert await found(state="revoked", tier="free") == []


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
