"""Gives an answer again that was given before, where everything it depends on is the same.

What everything is: who may see it, what was asked with which options, what was said before, the model with its
files, the way prompts are written, and for the assistant the documents. An answer of one client or conversation
never reaches another one.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import perf_counter
from typing import Literal

import orjson
import structlog
from pydantic import ValidationError

from engine.answers import Answer, Answers, Recollection, Route, TextSink, TurnStats
from engine.readers import Readers
from hub.bus.cache import AnswerCache
from hub.errors import BusError, KnowledgeError, ModelError
from hub.messages import InboundMessage, Message, Source, Usage
from hub.people import principal_of
from hub.settings import EngineSettings
from knowledge.audience import Reader

log = structlog.get_logger(__name__)

PROMPT_VERSION = 2
"""Raised when the assistant's prompts or checks change: answers of earlier versions are not given again then."""

_ASKED = {"text", "quoted", "attachments", "earlier", "language"}

Identity = Callable[[str], Awaitable[str]]
"""Digests the model of this name or role, its settings and its files."""


class KeptAnswer(Message):
    """An answer as the cache holds it."""

    kind: Literal["answer"] = "answer"
    text: str
    sources: tuple[Source, ...] = ()
    usage: Usage
    route: str


class CachedAnswers:
    """Answers from the cache, else by another way, whose answer is then kept."""

    def __init__(
        self,
        answers: Answers,
        cache: AnswerCache,
        *,
        settings: EngineSettings,
        identity: Identity,
        knowledge_view: Callable[[Reader], Awaitable[str]],
        readers: Readers | None = None,
    ) -> None:
        """Prepare.

        Args:
            answers: where an answer comes from that is not kept yet.
            cache: where answers are kept.
            identity: digests a model.
            knowledge_view: names what a reader can see of the documents at this moment.
            readers: says who reads an answer.
        """
        self._answers = answers
        self._cache = cache
        self._settings = settings
        self._identity = identity
        self._knowledge_view = knowledge_view
        self._readers = readers or Readers()

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Answer one message."""
        if not self._may_look(message, recollection):
            return await self._answers.answer(message, recollection, text)
        started = perf_counter()
        try:
            digest = await self._digest(message, recollection)
            kept = _read(await self._cache.find(digest))
        except (BusError, ModelError, KnowledgeError) as error:
            # Without a cache it is answered all the same; a model that is unknown is told by whoever asks it.
            log.warning("cache_not_read", error=str(error))
            return await self._answers.answer(message, recollection, text)
        if kept is not None:
            await text.add(kept.text)
            return _given_again(kept, perf_counter() - started)
        answer = await self._answers.answer(message, recollection, text)
        await self._keep(message, recollection, digest, answer)
        return answer

    def _may_look(self, message: InboundMessage, recollection: Recollection) -> bool:
        generation = message.generation
        if generation is not None:
            if generation.use_cache is not None:
                return generation.use_cache
            return self._settings.cache_answers and generation.temperature == 0
        # What a person told or was told before makes an answer theirs: only questions that stand alone are cached.
        remembered = (recollection.turns, recollection.facts, recollection.preferences)
        stands_alone = not (any(remembered) or recollection.summary.count)
        return self._settings.cache_answers and bool(message.kept_s) and stands_alone

    async def _digest(self, message: InboundMessage, recollection: Recollection) -> str:
        generation, address = message.generation, message.address
        name = generation.model if generation else message.model or self._settings.model
        is_session = generation is not None and generation.with_history
        turns = recollection.turns if is_session else ()
        depends_on = {
            "audience": message.conversation if is_session else [address.connector, address.account],
            "asked": message.model_dump(mode="json", include=_ASKED),
            "generation": generation and generation.model_dump(mode="json", exclude={"use_cache"}),
            "turns": [[turn.question, turn.answer, turn.kind] for turn in turns],
            "model": await self._identity(name),
            "max_answer_tokens": self._settings.max_answer_tokens,
            "prompts": PROMPT_VERSION,
            # A model itself looks at no documents: its answers outlive changes of them.
            # The audiences are part of it: an answer from documents for few reaches nobody else.
            "knowledge": None if generation else await self._knowledge_view(await self._readers.of(message)),
        }
        written = orjson.dumps(depends_on, option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(written).hexdigest()

    async def _keep(
        self, message: InboundMessage, recollection: Recollection, digest: str, answer: Answer
    ) -> None:
        if answer.kind != "answer" or answer.forget or answer.facts or answer.usage is None:
            return
        if answer.stats.route == "computed":
            # What day it is may be another one tomorrow.
            return
        kept = KeptAnswer(
            text=answer.text, sources=answer.sources, usage=answer.usage, route=answer.stats.route
        )
        try:
            # Documents or their audiences that changed meanwhile may have gone into it.
            if await self._digest(message, recollection) != digest:
                return
            kept_bytes = kept.model_dump_json().encode("utf-8", "replace")
            owner, key = principal_of(message.address), message.external_key
            await self._cache.keep(digest, kept_bytes, owner=owner, message=key)
        except (BusError, ModelError, KnowledgeError) as error:
            log.warning("cache_not_written", error=str(error))


def _read(kept: bytes | None) -> KeptAnswer | None:
    try:
        return None if kept is None else KeptAnswer.model_validate_json(kept)
    except ValidationError:
        return None


def _given_again(kept: KeptAnswer, took_s: float) -> Answer:
    usage = kept.usage.model_copy(update={"from_cache": True, "processing_s": took_s})
    route: Route = kept.route  # type: ignore[assignment]  # written by `_keep`
    stats = TurnStats(route=route, total_ms=took_s * 1000)
    return replace(Answer(kind="answer", text=kept.text, stats=stats), sources=kept.sources, usage=usage)
