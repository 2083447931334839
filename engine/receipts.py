"""The receipt of an answer: what it was made of, kept for as long as the conversation remembers the turn."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

import structlog
from pydantic import Field, ValidationError
from redis.asyncio import Redis

from engine.answers import Answer
from engine.asked import Asked
from engine.cache import PROMPT_VERSION
from hub.bus.connection import bus_errors
from hub.bus.effects import Effect, append_effect
from hub.bus.entries import entry_order
from hub.bus.keys import Keys
from hub.erasure.keyspace import Keyspace
from hub.errors import HubError
from hub.messages import InboundMessage, Message, utc_now
from hub.people import principal_of

log = structlog.get_logger(__name__)

MAX_RECEIPT_BYTES = 131_072
"""A longer one is kept without the inputs of its requests."""


class AnswerReceipt(Message):
    """What one answer was made of."""

    turn: str
    conversation: str
    who: str = ""
    """In a group, who asked, as `principal_of` names them."""
    at: datetime = Field(default_factory=utc_now)
    route: str
    from_cache: bool = False
    asked: tuple[Asked, ...] = ()
    """Requests to models in their order; none where the answer was quoted, known or fixed."""
    chunks: tuple[int, ...] = ()
    """Ids of the chunks that the answer rests on."""
    facts: tuple[str, ...] = ()
    """Keys of the remembered facts that it was given."""
    versions: Mapping[str, str] = Field(default_factory=dict)
    """Of the hub, its prompts, the documents, and the library that computed."""

    def short(self) -> "AnswerReceipt":
        """Return it without what the requests were made of."""
        return self.model_copy(
            update={"asked": tuple(one.model_copy(update={"inputs": None}) for one in self.asked)}
        )


class Receipts:
    """Writes receipts in the step that commits their turn, and finds them again.

    Args:
        keep: of each conversation; 0 keeps none.
        identity: digests a model by its name.
        knowledge_version: of the documents.
        versions: of what does not change while the process runs.
    """

    def __init__(
        self,
        *,
        keep: int,
        identity: Callable[[str], Awaitable[str]],
        knowledge_version: Callable[[], Awaitable[int]],
        versions: Mapping[str, str],
    ) -> None:
        self._keep = keep
        self._identity = identity
        self._knowledge_version = knowledge_version
        self._versions = versions

    async def effects(
        self, keys: Keys, message: InboundMessage, turn: str, answer: Answer
    ) -> tuple[Effect, ...]:
        """Return the write that keeps the receipt of a turn; none where the turn is not kept either."""
        if not self._keep or answer.forget:
            return ()
        receipt = await self._receipt(message, turn, answer)
        row = receipt.model_dump_json().encode("utf-8", "replace")
        if len(row) > MAX_RECEIPT_BYTES:
            row = receipt.short().model_dump_json().encode("utf-8", "replace")
        ttl_s = message.kept_s or None
        return (append_effect(keys.receipts(message.conversation), row, keep=self._keep, ttl_s=ttl_s),)

    async def _receipt(self, message: InboundMessage, turn: str, answer: Answer) -> AnswerReceipt:
        stats = answer.stats
        asked = [one.done(await self._hash(one.model)) for one in stats.asked]
        try:
            documents = str(await self._knowledge_version())
        except HubError:
            documents = ""
        return AnswerReceipt(
            turn=turn,
            conversation=message.conversation,
            who=principal_of(message.address) if message.address.is_group else "",
            route=stats.route,
            from_cache=bool(answer.usage and answer.usage.from_cache),
            asked=tuple(asked),
            chunks=tuple(dict.fromkeys(stats.chunks)),
            facts=tuple(dict.fromkeys(stats.fact_keys)),
            versions={**self._versions, "prompts": str(PROMPT_VERSION), "documents": documents},
        )

    async def _hash(self, model: str) -> str:
        try:
            return await self._identity(model)
        except HubError as error:
            # The answer is there; its receipt says that the model could not be told.
            log.warning("model_not_identified", model=model, error=str(error))
            return ""


class ReceiptBook:
    """Reads receipts."""

    def __init__(self, redis: Redis, *, shards: int) -> None:
        self._keyspace = Keyspace(redis, shards=shards)

    async def of(self, turn: str, conversation: str = "") -> AnswerReceipt | None:
        """Return the receipt of a turn; None where it is not kept any more.

        Args:
            conversation: where it stands; all are looked through otherwise.

        Raises: BusError: Redis is away.
        """
        return next((one for one in await self._found(conversation) if one.turn == turn), None)

    async def latest(self, last: int) -> list[AnswerReceipt]:
        """Return the latest receipts of all conversations in which a model was asked, oldest first.

        Raises: BusError: Redis is away.
        """
        asked = [one for one in await self._found("") if any(request.inputs for request in one.asked)]
        return sorted(asked, key=lambda one: entry_order(one.turn))[-last:] if last > 0 else []

    async def _found(self, conversation: str) -> list[AnswerReceipt]:
        found: list[AnswerReceipt] = []
        for keys in self._keyspace.shards:
            async for page in self._keyspace.pages(keys, "receipts", within=conversation or "*"):
                for key in page:
                    with bus_errors("the receipts could not be read"):
                        rows = await self._keyspace.redis.lrange(key, 0, -1)
                    found += [one for row in rows if (one := _receipt(row))]
        return found


def _receipt(row: bytes) -> AnswerReceipt | None:
    try:
        return AnswerReceipt.model_validate_json(row)
    except ValidationError:
        return None
