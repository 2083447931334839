"""Keeps the questions that found no support, for the operator; it never changes or delays an answer that there is."""

import hashlib
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from engine.answers import Answer, Answers, Recollection, TextSink
from engine.questions import asks_about_own_life, asks_own_name
from hub.database import DatabaseError
from hub.errors import HubError
from hub.messages import InboundMessage
from hub.people import principal_of
from knowledge.gaps.store import GapStore, Unanswered, cleaned
from knowledge.passages import Retriever

log = structlog.get_logger(__name__)

WasErased = Callable[[InboundMessage], Awaitable[bool]]
_LEAST_WORDS = 2


class NotedGaps:
    """Lets others answer, and notes what they could not.

    Args:
        was_erased: tells whether the person of a message was erased while it was answered.
    """

    def __init__(
        self,
        answers: Answers,
        gaps: GapStore,
        retriever: Retriever,
        *,
        embedding_model: str,
        was_erased: WasErased,
    ) -> None:
        self._answers = answers
        self._gaps = gaps
        self._retriever = retriever
        self._embedding_model = embedding_model
        self._was_erased = was_erased

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Answer one message; where it forgets, so does this.

        Raises: DatabaseError: what was to be forgotten could not be removed.
        """
        answer = await self._answers.answer(message, recollection, text)
        if answer.forget:
            await self._forget(message)
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
            asker=_asker(message),
        )
        try:
            vector = (await self._retriever.embed([cleaned(question)]))[0]
            if await self._was_erased(message):
                return
            await self._gaps.note(asked, vector, self._embedding_model)
        except (HubError, SQLAlchemyError) as error:
            log.warning("gap_not_noted", error=type(error).__name__)

    async def _forget(self, message: InboundMessage) -> None:
        askers = {_asker(message)} if message.address.is_group else None
        try:
            await self._gaps.forget(message.conversation, askers)
        except SQLAlchemyError as error:
            # Nobody may be told that it was forgotten.
            raise DatabaseError(f"open questions could not be forgotten: {type(error).__name__}") from error


def _asker(message: InboundMessage) -> str:
    return principal_of(message.address) if message.address.is_group else ""
