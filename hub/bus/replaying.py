"""The way back of a dead letter to its queue: one script, so that it is there once or not at all."""

from dataclasses import dataclass
from typing import Literal

from hub.bus.connection import bus_errors, repeat
from hub.bus.effects import Argument
from hub.bus.queue import ORIGIN_S, OrderedQueue

REPLAYED_S = 30 * 86_400
"""How long it is known of a dead letter that it was put back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Returning:
    """What a dead letter is, for its way back."""

    kind: Literal["message", "reply"]
    entry: str
    """What it was on its queue before."""
    lane: str
    person: str
    """Whose it is, as `principal_of` names them."""
    record: str
    """Key of what is known of a message's external key, or of a reply's delivery."""
    remember_s: int
    """How long that is kept from now on."""
    origin: str = ""
    """What a message came of, as in `OrderedQueue.publish`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What became of a dead letter that was to be put back."""

    status: Literal["OK", "REPLAYED", "MISSING", "FULL", "LANE_FULL", "ERASING", "UNREADABLE"]
    """`REPLAYED`: it was put back before; `UNREADABLE`: it holds nothing that anybody could work on."""
    entry: str = ""
    """What it is on its queue now."""


async def replay(queue: OrderedQueue, letter: str, returning: Returning, *, attempt: str) -> Replay:
    """Put a dead letter of a queue back at the end of its lane, as if it had come now.

    Args:
        letter: id on the stream of dead letters.
        attempt: a name of its own; with the same one again the answer is the same.

    Raises: BusError: Redis is away; repeating with the same `attempt` is safe.
    """
    keys, lane = queue.keys, returning.lane
    names = [keys.dead, queue.stream, keys.lane(queue.name, lane), keys.replayed(letter), returning.record]
    names += [keys.origin(lane, returning.origin), keys.erased(lane), keys.erased(returning.person)]
    arguments: list[Argument] = [letter, attempt, lane, queue.limits.backlog, queue.limits.lane, REPLAYED_S]
    arguments += [returning.kind, returning.remember_s, ORIGIN_S if returning.origin else 0, returning.entry]
    with bus_errors("a dead letter could not be put back"):
        answer = await repeat(lambda: queue.run_script("replay", names, arguments, confirmed=True), for_s=10)
    status, *entry = (part.decode() for part in answer)
    return Replay(status=status, entry=entry[0] if entry else "")
