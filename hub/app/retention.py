"""Removes what operators leave behind once its time is over: entries of the audit log, and sessions."""

import asyncio

import structlog

from hub.app.loops import Loop
from hub.audit import AuditLog
from hub.database import DatabaseError
from hub.operators.sessions import Sessions
from hub.waiting import happens

log = structlog.get_logger(__name__)

EVERY_S = 6 * 3600.0


def retention(audit: AuditLog, sessions: Sessions, *, audit_days: int, every_s: float = EVERY_S) -> Loop:
    """Return the loop that looks at the start and every few hours; many processes may do so.

    Args:
        audit_days: age of entries that go; 0 keeps them all.
    """

    async def run(stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await sessions.trim()
                if audit_days:
                    await audit.trim(audit_days)
            except DatabaseError as error:
                log.warning("retention_failed", error=str(error))
            await happens(stop, within_s=every_s)

    return Loop(name="retention", run=run)
