"""The ledgers of all processes in Redis."""

import asyncio
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from hub.bus.connection import connect
from hub.egress import book as books
from hub.egress.book import EgressBook
from hub.egress.guard import EgressGuard
from hub.egress.ledger import Place
from tests.servers.redis import free_port

MAIL = Place("imap.example.org", 993, "email")


async def test_processes_add_up_in_redis(redis: Redis) -> None:
    """Each keeps counting; what was counted is there after it has ended, and is counted once."""
    book, began = EgressBook(redis), datetime.now(UTC)
    guards = [EgressGuard([], process="engine") for _ in range(2)]
    for guard in guards:
        guard.ledger.note(MAIL)
        await book.write(guard)
        guard.ledger.note(MAIL)
        guard.ledger.note(Place("telemetry.invalid", 443, ""), refused=True)
        await book.write(guard)
        await book.write(guard)

    seen = {entry.host: entry for entry in await book.entries()}

    mail, refused = seen["imap.example.org"], seen["telemetry.invalid"]
    assert (mail.process, mail.port, mail.purpose) == ("engine", 993, "email")
    assert (mail.connections, mail.refused) == (4, 0)
    assert began <= mail.first < mail.last <= datetime.now(UTC)
    assert (refused.connections, refused.refused, refused.purpose) == (0, 2, "")


async def test_what_cannot_be_written_is_kept(redis: Redis) -> None:
    """While Redis is away nothing of the ledger is lost."""
    guard = EgressGuard([], process="engine")
    guard.ledger.note(MAIL)
    away = connect(f"redis://127.0.0.1:{free_port()}", connections=1)

    with capture_logs() as logs:
        await EgressBook(away).write(guard)
    await away.aclose()
    stop = asyncio.Event()
    stop.set()
    await EgressBook(redis).keep(guard, stop)
    guard.ledger.note(MAIL)
    await EgressBook(redis).write(guard)

    assert [log["event"] for log in logs] == ["egress_not_written"]
    [entry] = await EgressBook(redis).entries()
    assert entry.connections == 2


async def test_the_places_visited_longest_ago_go_first(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The book has a size, too."""
    monkeypatch.setattr(books, "MOST_ENTRIES", 3)
    guard = EgressGuard([], process="hub")
    for number in range(5):
        guard.ledger.note(Place(f"host-{number}", 443, "pages"))
        await EgressBook(redis).write(guard)

    entries = await EgressBook(redis).entries()

    assert [entry.host for entry in entries] == ["host-4", "host-3", "host-2"]
    assert all(entry.connections == 1 for entry in entries)
    assert sum([await redis.hlen(key) for key in await redis.keys("*egress:counts")]) == 6
