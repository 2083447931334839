"""Puts together what is handed out, and where what is imported goes: one line for each kind of rows."""

from collections.abc import Mapping

from hub.app.erasure import OpenQuestions, connectors_traces
from hub.app.own_documents import OwnDocuments
from hub.archive.erasure import ArchiveStore
from hub.archive.people import TABLES
from hub.bus.bus import Bus
from hub.database import database_url
from hub.erasure.stores import PersonalRecords
from hub.erasure.streams import names_them
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
from hub.export.streams import ReplyRecords, StreamRecords, is_own_event
from hub.settings import Settings

TOLD: Mapping[str, tuple[str, ...]] = {
    "memory": ("conversations", "receipts", "facts", "summaries", "settings", "style"),
    "turns": ("judgements",),
    "telegram": ("telegram",),
    "email": ("email",),
    "web": ("web",),
    "interaction_log": ("log",),
    "queues": ("waiting", "replies"),
    "dead_letters": ("dead_letters",),
    "quarantine": ("quarantine",),
    "events": ("events",),
    "archive": tuple(str(table.__tablename__) for table in TABLES),
    "gaps": ("open_questions",),
    "documents": ("documents",),
    "identities": ("identities",),
}
"""For each store that an erasure empties, the files of an export in which it is handed out."""
NOT_TOLD: Mapping[str, str] = {
    "erasure_list": "digests of those who were erased, of whom nothing else is left",
    "group_summaries": "lines made of what several people wrote; what the person wrote is among the conversations",
    "answer_cache": "copies of answers that are among the conversations",
    "named_requests": "marks by which a request that is sent again is recognised",
    "accepted_messages": "marks by which a message that is delivered again is recognised",
    "live_text": "pieces of answers that are being written, and stand in a conversation once they are done",
    "orders": "orders to stop an answer, for as long as it takes to stop it",
    "vectors": "numbers computed from the documents, which are handed out themselves",
}
"""Stores that an erasure empties and no export hands out, and why."""


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
        ReplyRecords(redis, shards=shards),
        DeadLetterRecords(redis, shards=shards),
        StreamRecords(
            redis,
            shards=shards,
            name="quarantine",
            stream=lambda keys: keys.quarantine,
            is_theirs=names_them,
        ),
        StreamRecords(
            redis, shards=shards, name="events", stream=lambda keys: keys.events, is_theirs=is_own_event
        ),
        *(ArchivedRecords(archive, table) for table in TABLES),
        QuestionRecords(OpenQuestions(settings).rows),
        OwnDocuments(settings),
        *(store for store in connectors_traces(settings, bus) if isinstance(store, PersonalRecords)),
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
