"""Keeps the questions that found no support, for the operator; it never changes or delays an answer that there is."""

import hashlib

import structlog
from sqlalchemy.exc import SQLAlchemyError

from engine.answers import Answer, Answers, Recollection, TextSink
from engine.questions import asks_about_own_life, asks_own_name
from hub.errors import HubError
from hub.messages import InboundMessage
from knowledge.gaps.store import GapStore, Unanswered, cleaned
from knowledge.passages import Retriever

log = structlog.get_logger(__name__)

_LEAST_WORDS = 2


class NotedGaps:
    """Lets others answer, and notes what they could not."""

    def __init__(
        self, answers: Answers, gaps: GapStore, retriever: Retriever, *, embedding_model: str
    ) -> None:
        self._answers = answers
        self._gaps = gaps
        self._retriever = retriever
        self._embedding_model = embedding_model

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Answer one message."""
        answer = await self._answers.answer(message, recollection, text)
        for ordinal, question in enumerate(answer.unanswered):
            # What is known of a person is no matter of documents, and one word is no question.
            is_personal = asks_about_own_life(question) or asks_own_name(question)
            if not is_personal and len(question.split()) >= _LEAST_WORDS:
                await self._note(message, ordinal, question)
        return answer

    async def _note(self, message: InboundMessage, ordinal: int, question: str) -> None:
        asked = Unanswered(
            turn=hashlib.sha256(f"{message.conversation} {message.external_key}".encode()).hexdigest(),
            ordinal=ordinal,
            conversation=message.conversation,
            connector=message.address.connector,
            text=question,
            language=message.language,
        )
        try:
            vector = (await self._retriever.embed([cleaned(question)]))[0]
            await self._gaps.note(asked, vector, self._embedding_model)
        except (HubError, SQLAlchemyError) as error:
            log.warning("gap_not_noted", error=type(error).__name__)
