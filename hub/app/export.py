"""Puts together what is handed out, and where what is imported goes: one line for each kind of rows."""

from hub.app.erasure import OpenQuestions
from hub.archive.erasure import ArchiveStore
from hub.archive.people import TABLES
from hub.bus.bus import Bus
from hub.database import database_url
from hub.erasure.stores import PersonalRecords
from hub.export.archived import ArchivedRecords, QuestionRecords
from hub.export.importing import ArchiveImport, HistorySink
from hub.export.records import (
    DeadLetterRecords,
    HashRecords,
    IdentityRecords,
    InteractionRecords,
    JudgementRecords,
    RowRecords,
    WaitingRecords,
)
from hub.settings import Settings


def personal_records(settings: Settings, bus: Bus) -> list[PersonalRecords]:
    """Return everything that can be handed out, of one person or of all."""
    redis, shards = bus.redis, settings.bus.shards
    archive = ArchiveStore(database_url(settings))
    return [
        RowRecords(redis, shards=shards, name="conversations", kind="history"),
        RowRecords(redis, shards=shards, name="receipts", kind="receipts"),
        HashRecords(redis, shards=shards, name="facts", kind="facts"),
        HashRecords(redis, shards=shards, name="summaries", kind="summary"),
        HashRecords(redis, shards=shards, name="settings", kind="preferences"),
        HashRecords(redis, shards=shards, name="style", kind="style"),
        IdentityRecords(redis, shards=shards),
        JudgementRecords(redis, shards=shards),
        WaitingRecords(redis, shards=shards),
        DeadLetterRecords(redis, shards=shards),
        *(ArchivedRecords(archive, table) for table in TABLES),
        QuestionRecords(OpenQuestions(settings).rows),
        InteractionRecords(settings.data / "log.jsonl"),
    ]


def turn_sink(settings: Settings, bus: Bus) -> HistorySink:
    """Return where imported turns go."""
    return HistorySink(bus.redis, shards=settings.bus.shards, keep=settings.bus.history_turns)


def archive_import(settings: Settings, bus: Bus) -> ArchiveImport:
    """Return what takes the rows of an archive."""
    return ArchiveImport(
        bus.redis, turn_sink(settings, bus), shards=settings.bus.shards, keep=settings.bus.history_turns
    )
