"""Puts together what answers a message; from the outside in: guard, cache, commands, marks, the assistant."""

from importlib.metadata import version
from typing import TYPE_CHECKING

from engine.answering import Answering
from engine.answers import Answers
from engine.cache import CachedAnswers
from engine.cited import CheckedSources
from engine.direct import DirectAnswers
from engine.guard.guarded import Guarded
from engine.history_search import HistorySearch
from engine.linking import Linking
from engine.memory.conversation import ConversationMemory
from engine.noted_gaps import NotedGaps
from engine.readers import Readers
from engine.receipts import Receipts
from engine.turn import Assistant
from engine.worker import Worker
from hub.archive.archive import Archive
from hub.bus.bus import Bus
from hub.bus.cache import AnswerCache
from hub.citations import Citations
from hub.live import Live
from hub.people import People
from hub.settings import Settings
from knowledge.gaps.store import GapStore
from knowledge.versions import DocumentVersions

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from engine.models.manager import ModelManager
    from knowledge.search import KnowledgeBase


def make_worker(
    settings: Settings,
    bus: Bus,
    live: Live,
    *,
    models: "ModelManager",
    base: "KnowledgeBase",
    database: "AsyncEngine",
) -> Worker:
    """Return the worker of an engine."""
    engine, people = settings.engine, People(bus.redis)
    archive = Archive(database) if settings.memory.archive else None
    answers = Guarded(
        _cached(settings, bus, people, archive, models=models, base=base, database=database), settings.guard
    )
    memory = ConversationMemory(
        bus,
        people,
        history_turns=settings.bus.history_turns,
        recalled_turns=engine.window_turns,
        settings=settings.memory,
        archive=archive,
    )
    receipts = Receipts(
        keep=engine.receipts,
        identity=models.identity_of,
        knowledge_version=base.current_version,
        versions={"hub": version("hubbub"), "llama.cpp": version("llama-cpp-python")},
    )
    return Worker(
        bus,
        live,
        answers,
        memory=memory,
        turn_timeout_s=engine.turn_timeout_s,
        receipts=receipts,
        cleaned=answers.cleaned,
    )


def _cached(
    settings: Settings,
    bus: Bus,
    people: People,
    archive: Archive | None,
    *,
    models: "ModelManager",
    base: "KnowledgeBase",
    database: "AsyncEngine",
) -> Answers:
    engine, tiers, readers = settings.engine, settings.keys.tiers, Readers(people)
    assistant = Assistant(
        models,
        base,
        engine=engine,
        knowledge=settings.knowledge,
        tiers=tiers,
        memory=settings.memory,
        readers=readers,
    )
    asked = Answering(assistant, DirectAnswers(models, engine=engine, tiers=tiers))
    known = _checked(settings, bus, asked, base, database)
    return CachedAnswers(
        Linking(HistorySearch(known, people, archive), people),
        AnswerCache(bus.redis, ttl_s=engine.cache_ttl_s),
        settings=engine,
        identity=models.identity_of,
        knowledge_view=base.view,
        readers=readers,
    )


def _checked(
    settings: Settings, bus: Bus, answers: Answers, base: "KnowledgeBase", database: "AsyncEngine"
) -> Answers:
    """Note the questions that stay open, and tell of cited documents that have changed."""
    if settings.gaps.enabled:
        gaps = GapStore(database, settings.gaps)
        model = base.embedding_model
        answers = NotedGaps(answers, gaps, base, embedding_model=model, was_erased=bus.was_erased)
    return CheckedSources(answers, Citations(DocumentVersions(database)))
