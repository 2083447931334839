"""The audit log: entries are written before and after a change, and nobody changes them."""

from datetime import timedelta

import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.audit import OUTCOMES, Attempt, AuditLog, AuditRow, Filter, Outcome, Result
from hub.database import DatabaseError
from hub.messages import utc_now

ANA = Attempt(
    actor_kind="operator",
    actor="0a1b2c3d4e5f",
    actor_name="ana",
    address="192.0.2.1",
    request="r-1",
    action="remove_collection",
)
KEY = Attempt(actor_kind="key", actor="f5e4d3c2b1a0", action="forget_gap")
DONE = Result(outcome="done", change="collection_removed", target="timetable", numbers={"documents": 3})


@pytest.fixture
def audit(database: AsyncEngine) -> AuditLog:
    """An empty log."""
    return AuditLog(database)


async def test_an_entry_is_there_before_the_change_and_complete_after_it(audit: AuditLog) -> None:
    """Who, when, from where, what, and what came of it."""
    before = utc_now()
    entry = await audit.begin(ANA)
    [begun] = await audit.entries(Filter())
    await audit.end(entry, DONE)

    [done] = await audit.entries(Filter())

    assert (begun.id, begun.outcome, begun.change, begun.target) == (entry, "begun", "", "")
    assert before <= done.at <= utc_now()
    assert done.at == begun.at
    named = (done.actor_kind, done.actor, done.actor_name, done.address, done.request, done.action)
    assert named == ("operator", "0a1b2c3d4e5f", "ana", "192.0.2.1", "r-1", "remove_collection")
    assert (done.outcome, done.change, done.target, done.code) == (
        "done",
        "collection_removed",
        "timetable",
        "",
    )
    assert done.numbers == {"documents": 3}


@pytest.mark.parametrize("outcome", [one for one in OUTCOMES if one != "begun"])
async def test_an_outcome_is_final(audit: AuditLog, database: AsyncEngine, outcome: Outcome) -> None:
    """The database refuses a second one, whoever asks for it."""
    entry = await audit.begin(ANA)
    await audit.end(entry, Result(outcome=outcome, code="x"))

    with pytest.raises(DatabaseError):
        await audit.end(entry, DONE)
    for column, value in (("outcome", "begun"), ("target", "other"), ("numbers", {})):
        async with database.connect() as connection:
            with pytest.raises(DBAPIError, match="audit log cannot be changed"):
                await connection.execute(update(AuditRow).values({column: value}))

    [left] = await audit.entries(Filter())
    assert (left.outcome, left.code) == (outcome, "x")


async def test_who_and_when_are_final_from_the_beginning(audit: AuditLog, database: AsyncEngine) -> None:
    """Only the outcome is still open."""
    await audit.begin(ANA)

    for column in ("actor", "actor_kind", "actor_name", "address", "request", "action"):
        async with database.connect() as connection:
            with pytest.raises(DBAPIError, match="audit log cannot be changed"):
                await connection.execute(text(f"UPDATE audit SET outcome = 'done', {column} = 'x'"))
    for column in ("at = '2026-01-01'", "id = id + 1"):
        async with database.connect() as connection:
            with pytest.raises(DBAPIError, match="audit log cannot be changed"):
                await connection.execute(text(f"UPDATE audit SET {column}"))


async def test_entries_are_filtered_and_come_in_pages(audit: AuditLog) -> None:
    """Latest first, each once, also while others are written."""
    for number in range(5):
        await audit.write(ANA, Result(outcome="done", change="collection_removed", target=str(number)))
    await audit.write(KEY, Result(outcome="refused", code="not_found"))

    first = await audit.entries(Filter(), limit=4)
    await audit.write(KEY, DONE)
    second = await audit.entries(Filter(), before=first[-1].id, limit=4)

    assert [one.target for one in (*first, *second)] == ["", "4", "3", "2", "1", "0"]
    for which, count in (
        (Filter(actor=ANA.actor), 5),
        (Filter(actor=KEY.actor, outcome="refused"), 1),
        (Filter(action="remove_collection", target="3"), 1),
        (Filter(change="collection_removed"), 6),
        (Filter(outcome="failed"), 0),
        (Filter(since=first[0].at), 2),
        (Filter(until=first[0].at), 5),
        (Filter(target="%"), 0),
    ):
        assert len(await audit.entries(which)) == count, which


async def test_old_entries_are_removed(audit: AuditLog, database: AsyncEngine) -> None:
    """By age alone."""
    await audit.write(ANA, DONE)
    old = utc_now() - timedelta(days=8)
    columns = (
        "at, actor_kind, actor, actor_name, address, request, action, change, target, outcome, code, numbers"
    )
    values = ":at, 'key', '', '', '', '', 'old', '', '', 'done', '', '{}'"
    async with database.begin() as connection:
        shown = old.strftime("%Y-%m-%d %H:%M:%S.%f") if database.dialect.name == "sqlite" else old
        await connection.execute(text(f"INSERT INTO audit ({columns}) VALUES ({values})"), {"at": shown})

    assert await audit.trim(9) == 0
    assert await audit.trim(7) == 1

    assert [one.action for one in await audit.entries(Filter())] == ["remove_collection"]
