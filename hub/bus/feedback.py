"""What people think of answers: one judgement for each person and answer, and a fact for each change."""

from pathlib import Path

from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.effects import EVENTS_KEPT
from hub.bus.keys import Keys, shard_of
from hub.events import FeedbackEvent, Judgement

KEPT_S = 90 * 86_400
"""From the last change on; longer than anybody can press the buttons of an answer."""
_SCRIPT = Path(__file__).parent / "scripts" / "judge.lua"


class FeedbackBook:
    """Keeps the judgements of one connector's answers in Redis."""

    def __init__(self, redis: Redis, connector: str, *, shards: int) -> None:
        self._judge = redis.register_script(_SCRIPT.read_text("utf-8"))
        self._connector = connector
        self._shards = shards

    async def feedback(self, turn: str, conversation: str, person: str, value: Judgement) -> None:
        """Record a judgement; the same one again changes nothing, another takes its place.

        Raises: BusError: it was not stored; repeating is safe.
        """
        keys = Keys(shard_of(conversation, self._shards))
        event = FeedbackEvent(
            turn=turn, connector=self._connector, conversation=conversation, person=person, value=value
        )
        flat = [str(part) for pair in event.fields().items() for part in pair]
        with bus_errors("a judgement could not be written"):
            await self._judge(
                keys=[keys.judgements(turn), keys.events],
                args=[f"{self._connector}:{person}", value, KEPT_S, EVENTS_KEPT, *flat],
            )
