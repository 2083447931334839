"""Stands around everything that answers: refuses what is too long or blocked, masks words, counts what addresses the model."""

from collections.abc import Iterator
from dataclasses import replace

import structlog

from engine import replies
from engine.answers import Answer, Answers, Recollection, TextSink, TurnStats
from engine.guard.injection import count_addressed
from engine.guard.sink import MaskingSink
from engine.guard.words import WordLists
from hub.guard_settings import GuardSettings
from hub.messages import InboundMessage, Source
from hub.text import normalise

log = structlog.get_logger(__name__)


class Guarded:
    """Lets others answer what may be answered."""

    def __init__(self, answers: Answers, settings: GuardSettings) -> None:
        self._answers = answers
        self._settings = settings
        self._words = WordLists(settings)

    def cleaned(self, message: InboundMessage) -> InboundMessage:
        """Make of a message what may be read, remembered and quoted of it; repeating it changes nothing.

        Connectors take invisible characters away already; a message may come from another program on the bus.
        """

        def clean(text: str) -> str:
            return self._words.redacted(normalise(text))

        changed: dict[str, object] = {"text": clean(message.text), "quoted": clean(message.quoted)}
        changed["attachments"] = tuple(
            each.model_copy(update={"name": clean(each.name), "text": clean(each.text)})
            for each in message.attachments
        )
        changed["earlier"] = tuple(
            each.model_copy(update={"text": clean(each.text)}) for each in message.earlier
        )
        if (asked := message.generation) is not None:
            messages = tuple(each.model_copy(update={"text": clean(each.text)}) for each in asked.messages)
            changed["generation"] = asked.model_copy(
                update={"messages": messages, "prompt": clean(asked.prompt)}
            )
        return message.model_copy(update=changed)

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Answer one message, or say why it is not answered."""
        if refused := self._refusal(message):
            await text.add(refused.text)
            return refused
        message = self.cleaned(message)
        if self._words.masks_answers:
            sink = MaskingSink(text, self._words)
            answer = await self._answers.answer(message, recollection, sink)
            sources = tuple(self._masked(source) for source in answer.sources)
            shown = await sink.finish()
            # What nobody was shown on the way, such as an error, is masked as a whole.
            answer = replace(answer, text=shown or self._words.masked(answer.text), sources=sources)
        else:
            answer = await self._answers.answer(message, recollection, text)
        self._count(message, answer.stats)
        return answer

    def _refusal(self, message: InboundMessage) -> Answer | None:
        parts = list(_written(message))
        code, told = "", ""
        if message.generation is None and len(message.text) > self._settings.max_text_chars:
            code, told = "too_long", replies.TOO_LONG.format(most=self._settings.max_text_chars)
        elif any(self._words.blocks(part) for part in parts):
            code, told = "blocked", self._settings.blocked_text or replies.BLOCKED
        if not code:
            return None
        log.info("message_refused", code=code, connector=message.address.connector)
        return Answer(kind="error", code=code, text=told, stats=TurnStats(route="command"))

    def _masked(self, source: Source) -> Source:
        fields = ("title", "heading", "quote")
        return source.model_copy(update={name: self._words.masked(getattr(source, name)) for name in fields})

    def _count(self, message: InboundMessage, stats: TurnStats) -> None:
        counts = {
            "quoted": count_addressed(message.quoted),
            "attachments": sum(count_addressed(each.text) for each in message.attachments),
            "documents": stats.flagged,
        }
        stats.flagged = counts["quoted"] + counts["attachments"] + counts["documents"]
        if stats.flagged:
            log.warning("model_addressed", connector=message.address.connector, **counts)


def _written(message: InboundMessage) -> Iterator[str]:
    """Give what the sender wrote, as the lists see it."""
    yield normalise(message.text)
    yield from (normalise(each.text) for each in message.attachments)
    if message.generation is not None:
        yield from (normalise(each.text) for each in message.generation.messages)
        yield normalise(message.generation.prompt)
