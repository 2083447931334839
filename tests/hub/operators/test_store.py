"""Accounts: made, changed and removed, and never without an admin."""

import asyncio

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.operators.passwords import PasswordRefused
from hub.operators.roles import ROLES, Role, includes
from hub.operators.sessions import Sessions
from hub.operators.store import Change, LastAdmin, NameRefused, NameTaken, Operator, OperatorStore
from hub.operators.tables import OperatorRow
from tests.hub.operators.desk import HERE, OTHER_PASSWORD, PASSWORD


async def test_the_first_operator_is_an_admin_and_the_next_a_viewer(
    store: OperatorStore, ana: Operator
) -> None:
    """Unless a role is named."""
    ben = await store.add("ben", None, PASSWORD)
    cleo = await store.add("cleo", "operator", PASSWORD)

    assert [ana.role, ben.role, cleo.role] == ["admin", "viewer", "operator"]
    assert list(await store.all()) == [ana, ben, cleo]
    assert await store.named("ben") == ben == await store.one(ben.id)
    assert await store.named("Ben") is None
    assert await store.one("ben") is None


async def test_no_password_is_kept(store: OperatorStore, ana: Operator, database: AsyncEngine) -> None:
    """Only what argon2 makes of it."""
    async with database.connect() as connection:
        row = (await connection.execute(select(OperatorRow))).one()

    assert row.password_hash.startswith("$argon2id$")
    assert PASSWORD not in str(row)
    assert "hash" not in str(ana)


@pytest.mark.parametrize(
    "name", ["", "Ana", "a b", "-ana", "ana\n", "ána", "a" * 65, "ana'--", "ana/ben", "\0", "٣"]
)
async def test_what_is_no_name(store: OperatorStore, name: str) -> None:
    """Nobody can be called something that looks like another."""
    with pytest.raises(NameRefused):
        await store.add(name, None, PASSWORD)


async def test_a_name_is_given_once(store: OperatorStore, ana: Operator) -> None:
    """Also when two want it at once."""
    with pytest.raises(NameTaken):
        await store.add("ana", "admin", OTHER_PASSWORD)
    tried = (store.add("ben", "viewer", PASSWORD) for _ in range(3))
    made = await asyncio.gather(*tried, return_exceptions=True)

    assert sorted(type(one).__name__ for one in made) == ["NameTaken", "NameTaken", "Operator"]


async def test_a_password_that_is_refused_makes_and_changes_nothing(
    store: OperatorStore, ana: Operator
) -> None:
    """The old one stays."""
    with pytest.raises(PasswordRefused):
        await store.add("ben", None, "short")
    with pytest.raises(PasswordRefused):
        await store.change(ana.id, Change(password="short"))

    assert list(await store.all()) == [ana]


@pytest.mark.parametrize(
    "change",
    [Change(role="operator"), Change(disabled=True), Change(password=OTHER_PASSWORD)],
    ids=["role", "disabled", "password"],
)
async def test_a_change_ends_the_sessions_at_once(
    store: OperatorStore, sessions: Sessions, ana: Operator, change: Change
) -> None:
    """Access and refresh tokens alike; other operators' sessions go on."""
    await store.add("ben", "admin", PASSWORD)
    cleo = await store.add("cleo", "admin", PASSWORD)
    given = [await sessions.sign_in(name, PASSWORD, HERE) for name in ("cleo", "cleo", "ben")]
    assert all(given)

    await store.change(cleo.id, change)

    seen = [(await sessions.read(one.access_token)).session for one in given if one]
    assert [bool(session) for session in seen] == [False, False, True]
    assert [bool(await sessions.refresh(one.refresh_token)) for one in given if one] == [False, False, True]


async def test_what_is_so_already_ends_nothing(
    store: OperatorStore, sessions: Sessions, ana: Operator
) -> None:
    """A repeated request does no harm."""
    given = await sessions.sign_in("ana", PASSWORD, HERE)
    assert given is not None

    assert await store.change(ana.id, Change(role="admin", disabled=False)) is not None

    assert (await sessions.read(given.access_token)).session is not None


async def test_who_was_disabled_and_enabled_signs_in_anew(
    store: OperatorStore, sessions: Sessions, ana: Operator
) -> None:
    """The sessions of before stay over."""
    ben = await store.add("ben", "operator", PASSWORD)
    given = await sessions.sign_in("ben", PASSWORD, HERE)
    await store.change(ben.id, Change(disabled=True))
    assert await sessions.sign_in("ben", PASSWORD, HERE) is None
    await store.change(ben.id, Change(disabled=False))

    assert given is not None
    assert (await sessions.read(given.access_token)).session is None
    assert await sessions.sign_in("ben", PASSWORD, HERE) is not None


async def test_the_last_admin_stays(store: OperatorStore, ana: Operator) -> None:
    """Neither removed nor disabled nor made less; a disabled admin is none."""
    ben = await store.add("ben", "admin", PASSWORD)
    await store.change(ben.id, Change(disabled=True))

    for change in (Change(role="operator"), Change(disabled=True), Change(role="viewer", disabled=False)):
        with pytest.raises(LastAdmin):
            await store.change(ana.id, change)
    with pytest.raises(LastAdmin):
        await store.remove(ana.id)
    await store.change(ana.id, Change(password=OTHER_PASSWORD))
    assert await store.remove(ben.id) is not None
    assert [one.name for one in await store.all()] == ["ana"]


async def test_two_admins_cannot_remove_each_other_at_once(store: OperatorStore, ana: Operator) -> None:
    """One of them stays, whoever was first."""
    ben = await store.add("ben", "admin", PASSWORD)

    done = await asyncio.gather(store.remove(ana.id), store.remove(ben.id), return_exceptions=True)

    assert sorted(type(one).__name__ for one in done) == ["LastAdmin", "Operator"]
    assert len(await store.all()) == 1


async def test_a_removed_operator_leaves_no_session(
    store: OperatorStore, sessions: Sessions, ana: Operator, database: AsyncEngine
) -> None:
    """Nor tokens that were used."""
    ben = await store.add("ben", "viewer", PASSWORD)
    given = await sessions.sign_in("ben", PASSWORD, HERE)
    assert given is not None
    assert await sessions.refresh(given.refresh_token)

    removed = await store.remove(ben.id)

    assert removed is not None
    assert (removed.id, removed.name) == (ben.id, "ben")
    assert await store.remove(ben.id) is None
    assert await store.change(ben.id, Change(password=PASSWORD)) is None
    async with database.connect() as connection:
        for table in ("operator_sessions", "operator_used_tokens"):
            assert (await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one() == 0


def test_each_role_may_what_the_one_before_may() -> None:
    """Written out."""
    expected: dict[Role, list[Role]] = {
        "viewer": ["viewer"],
        "operator": ["viewer", "operator"],
        "admin": ["viewer", "operator", "admin"],
    }

    for role in ROLES:
        assert [needed for needed in ROLES if includes(role, needed)] == expected[role]
