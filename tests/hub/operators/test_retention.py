"""What is too old goes by itself."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.app.retention import retention
from hub.audit import Attempt, AuditLog, Filter, Result
from hub.database import DatabaseError
from hub.messages import utc_now
from hub.operators.sessions import Sessions
from hub.operators.store import Operator
from hub.operators.tables import SessionRow
from tests.hub.operators.desk import HERE, PASSWORD

DONE = Attempt(actor_kind="key", actor="k", action="forget_gap"), Result(outcome="done")


@pytest.mark.parametrize("days", [0, 1])
async def test_entries_and_sessions_go_when_their_time_is_over(
    database: AsyncEngine, sessions: Sessions, ana: Operator, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the database was away at first; 0 keeps the audit log."""
    audit, stop, failures = AuditLog(database), asyncio.Event(), [DatabaseError("away")]
    await audit.write(*DONE)
    assert await sessions.sign_in("ana", PASSWORD, HERE)
    async with database.begin() as connection:
        await connection.execute(update(SessionRow).values(expires_at=utc_now() - timedelta(days=31)))
    later = utc_now() + timedelta(days=2)
    monkeypatch.setattr("hub.audit.utc_now", lambda: later)
    real = sessions.trim

    async def trim() -> int:
        if failures:
            raise failures.pop()
        removed = await real()
        assert removed == 1
        stop.set()
        return removed

    monkeypatch.setattr(sessions, "trim", trim)
    async with asyncio.timeout(10):
        await retention(audit, sessions, audit_days=days, every_s=0.01).run(stop)

    assert len(await audit.entries(Filter())) == (0 if days else 1)
