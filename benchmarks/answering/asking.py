"""Takes a corpus in as `hubbub ingest` does and asks the real assistant; nothing is remembered between questions."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Self

from engine.answers import Answer, Recollection
from engine.models.manager import ModelManager
from engine.models.opener import ModelOpener
from engine.turn import Assistant
from hub.logs import LogSettings
from hub.machine import budget_bytes
from hub.messages import Address, InboundMessage
from hub.model_registry import ModelRegistry
from hub.settings import KnowledgeSettings, Settings
from knowledge.search import KnowledgeBase

_SOMEBODY = Address(connector="web", account="site", chat="visitor", person="visitor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question and what came of it."""

    question: str
    answer: Answer
    took_s: float

    @property
    def is_declined(self) -> bool:
        """Whether the person is told that nothing supports an answer."""
        return self.answer.kind == "notice" and not self.answer.sources

    @property
    def route(self) -> str:
        """How the answer was made: "quoted", "generated", "declined", or what else the engine calls it."""
        names = {"quote": "quoted", "documents": "generated", "unknown": "declined"}
        return names.get(self.answer.stats.route, self.answer.stats.route)


class Sink:
    """A person who reads only the whole answer."""

    async def add(self, text: str) -> None:
        """Wait for the rest."""

    async def waiting(self, wait_s: float) -> None:
        """Wait."""

    async def reset(self) -> None:
        """Wait."""


class Hub:
    """A knowledge base and an assistant with the bundled models."""

    def __init__(self, assistant: Assistant) -> None:
        self._assistant = assistant

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, documents: Path, data: Path) -> AsyncIterator[Self]:
        """Take in the documents of a folder, and nothing else, into an empty data folder.

        Raises: HubError: a model or the knowledge base cannot be opened, or a document was not read.
        """
        settings = Settings(_env_file=None, data=data, knowledge=KnowledgeSettings(bundled_docs=False))
        registry = ModelRegistry(settings)
        opener = ModelOpener(registry, LogSettings(level="error"))
        models = ModelManager(registry, opener, memory_budget_bytes=budget_bytes(""))
        base = await KnowledgeBase.open(settings)
        try:
            await base.ready()
            report = await base.ingest([documents])
            if report.failed:
                raise RuntimeError(f"documents that were not read: {report.failed}")
            await models.load(settings.engine.model)
            yield cls(
                Assistant(
                    models,
                    base,
                    engine=settings.engine,
                    knowledge=settings.knowledge,
                    tiers=settings.keys.tiers,
                    memory=settings.memory,
                )
            )
        finally:
            await base.close()
            await models.close()

    async def ask(self, questions: Sequence[str], progress: Callable[[int], None]) -> list[Asked]:
        """Ask one question after another, each in a conversation of its own."""
        asked = []
        for number, question in enumerate(questions):
            message = InboundMessage(
                external_key=str(number), conversation=str(number), address=_SOMEBODY, text=question
            )
            began = perf_counter()
            answer = await self._assistant.answer(message, Recollection(), Sink())
            asked.append(Asked(question=question, answer=answer, took_s=perf_counter() - began))
            progress(number + 1)
        return asked
