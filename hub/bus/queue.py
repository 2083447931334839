"""The ordered queue: a stream for delivery, a lane for order, a lease with a fence for ownership.

The same class carries messages in and replies out. Every method is one script; each gives the same answer when it
is called twice with the same arguments, because an answer can be lost on the wire.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import structlog
from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from hub.bus.connection import bus_errors, repeat
from hub.bus.effects import Argument, Effect
from hub.bus.keys import Keys
from hub.bus.nodes import run_confirmed
from hub.errors import LeaseLost, TurnCancelled

log = structlog.get_logger(__name__)

_SCRIPTS = Path(__file__).parent / "scripts"
MAX_BODY_BYTES = 65_536
"""Of one entry; what is larger travels by reference."""
CANCELLED_S = 30 * 86_400
"""How long an order to cancel holds for what nobody works on meanwhile."""
ORIGIN_S = 3 * 86_400
"""How long an edit finds what it replaces. Telegram lets people edit for two days."""
MOST_EDITS = 100
DONE = 1
"""What a script says of an entry that was finished meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """How much may wait and how long things are held."""

    backlog: int = 10_000
    lane: int = 100
    lease_s: float = 30.0
    attempts: int = 5
    replicas: int = 0
    """How many must have what is published, committed or sent before anybody relies on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What became of a published entry."""

    status: Literal["OK", "DUPLICATE", "FULL", "LANE_FULL"]
    entry: str = ""
    backlog: int = 0
    """Entries of its shard that waited or ran when it came."""
    lane: int = 0
    """Those of its own conversation among them."""
    wait_s: float = 0.0
    """Estimated seconds until it is taken up; 0 where that is soon, or not known."""
    retry_after_s: float = 0.0
    """Of FULL: when there may be room again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry as it was read from the stream; what to work on is decided by `enter`."""

    id: str
    lane: str
    """Empty when the entry was not written by `publish`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work on the head of a lane until another fence is given out."""

    lane: str
    head: str
    fence: int
    attempts: int
    """1 at the first try; more after crashes and counted failures."""
    retries: int
    """How often it was given back without blame."""
    crashes: int = 0
    """How many of the attempts ended with their worker."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Busy:
    """Somebody else works on this lane and will come to the entry."""

    for_ms: int


CommitOutcome = Literal["committed", "fenced", "cancelled", "interrupted"]
"""It is stored; a newer fence was given out; the head was cancelled; Redis went away and nobody knows."""


def _tell_nobody(outcome: CommitOutcome, commit_ms: float) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Commit:
    """How a head ends."""

    effects: Sequence[Effect] = ()
    dead_letter: str = ""
    """Reason, when it goes to the dead letters as well."""
    unless_cancelled: bool = False
    """Whether it is refused when the head was cancelled while it was worked on."""
    ended: Callable[[CommitOutcome, float], None] = field(default=_tell_nobody, compare=False)
    """Is told what became of it, and how many milliseconds that took."""

    def tell(self, outcome: CommitOutcome, commit_ms: float) -> None:
        """Tell what became of it; whoever cannot hear it does not undo what is stored."""
        try:
            self.ended(outcome, commit_ms)
        except Exception:
            log.exception("commit_not_told", outcome=outcome)


@dataclass(slots=True)
class OrderedQueue:
    """One queue of one shard."""

    redis: Redis
    keys: Keys
    name: str
    """`inbound` or `outbound:<connector>`."""
    group: str
    """Consumer group: `engine` or `senders`."""
    limits: QueueLimits = field(default_factory=QueueLimits)
    _loaded: dict[str, AsyncScript] = field(default_factory=dict, init=False)

    @property
    def stream(self) -> str:
        """Key of the stream."""
        return self.keys.stream(self.name)

    @property
    def lease_ms(self) -> int:
        """Length of a lease in milliseconds."""
        return int(self.limits.lease_s * 1000)

    async def publish(
        self,
        external_key: str,
        lane: str,
        body: bytes,
        *,
        remember_s: int,
        stops: bool = False,
        origin: str = "",
        is_edit: bool = False,
        person: str = "",
    ) -> Published:
        """Accept an entry once.

        Args:
            external_key: the same key is accepted once within `remember_s` seconds.
            lane: conversation or destination; order is kept within it.
            body: at most 64 KiB.
            stops: cancel, in the same step, all that stands before it in its lane.
            origin: what the entry came of; an edit names the same.
            is_edit: cancel, in the same step, the earlier entry of this origin if it still stands in the lane, and
                remember which one it was.
            person: who wrote it, as `principal_of` names them. While they or their lane are being erased the entry is
                refused like one that comes to a full stream: it may come again.

        Raises: BusError: Redis is away; nothing is known, publish again with the same key.
        """
        keys = [self.stream, self.keys.seen(external_key)]
        keys += [self.keys.lane(self.name, lane), self.keys.cancelled(self.name, lane)]
        keys += [self.keys.origin(lane, origin), self.keys.erased(lane), self.keys.erased(person or lane)]
        limits = self.limits.backlog, self.limits.lane
        arguments: list[Argument] = [lane, body, *limits, remember_s, int(stops), CANCELLED_S]
        arguments += [ORIGIN_S if origin else 0, int(is_edit)]
        with bus_errors("the message could not be stored"):
            answer = await repeat(
                lambda: self.run_script("publish", keys, arguments, confirmed=True), for_s=2
            )
        match answer:
            case [b"OK", entry, backlog, before]:
                return Published(status="OK", entry=entry.decode(), backlog=backlog, lane=before)
            case [b"DUPLICATE", entry]:
                return Published(status="DUPLICATE", entry=entry.decode())
            case [b"FULL", backlog]:
                return Published(status="FULL", backlog=backlog)
            case [b"ERASING"]:
                return Published(status="FULL")
        return Published(status="LANE_FULL")

    async def cancel(self, lane: str, entry: str = "") -> list[str]:
        """Cancel an entry, or all that stand in a lane now; what is done already is left alone.

        Returns: the entries that stand there and are cancelled, oldest first.
        Raises: BusError: Redis is away; repeating is safe.
        """
        keys = [self.keys.lane(self.name, lane), self.keys.cancelled(self.name, lane)]
        with bus_errors("the order to cancel could not be stored"):
            found = await repeat(
                lambda: self.run_script("cancel", keys, [entry, CANCELLED_S], confirmed=True), for_s=2
            )
        return [_text(each) for each in found]

    async def cancelling(self, lane: str, entry: str) -> tuple[bool, int]:
        """Tell whether an entry is cancelled, and how many others it has cancelled when it came.

        Raises: BusError: Redis is away.
        """
        client: Any = self.redis
        with bus_errors("the orders to cancel could not be read"):
            mark, by = await client.hmget(self.keys.cancelled(self.name, lane), entry, f"by:{entry}")
        return mark is not None, int(by or 0)

    async def replaced_by(self, lane: str, origin: str, entry: str) -> list[str]:
        """Return the entries that an edit replaces, the latest first.

        Raises: BusError: Redis is away.
        """
        client: Any = self.redis
        with bus_errors("what an edit replaces could not be read"):
            fields = await client.hgetall(self.keys.origin(lane, origin))
        found: list[str] = []
        earlier = fields.get(entry.encode())
        while earlier is not None and len(found) < MOST_EDITS:
            found.append(earlier.decode())
            earlier = fields.get(earlier)
        return found

    async def enter(self, entry: str, lane: str, owner: str) -> Lease | Busy | None:
        """Take the lease of the lane that `entry` stands in.

        Returns: the lane's head, never the entry as such; Busy while another owner is alive; None when the
            entry was done before.
        """
        arguments: list[Argument] = [
            self.group,
            entry,
            owner,
            self.lease_ms,
            self._attempt_limit,
            self.name,
            lane,
        ]
        with bus_errors("a conversation could not be entered"):
            answer = await repeat(
                lambda: self.run_script("enter", self._lane_keys(lane), arguments), for_s=10
            )
        match answer[0]:
            case b"RUN":
                return _lease(lane, answer)
            case b"BUSY":
                return Busy(int(answer[1]))
        return None

    async def renew(self, lease: Lease) -> bool:
        """Keep the lease; False when another owner has taken over."""
        key = self.keys.lease(self.name, lease.lane)
        with bus_errors("a lease could not be renewed"):
            return bool(await self.run_script("renew", [key], [lease.fence, self.lease_ms]))

    async def nack(self, lease: Lease, *, delay_s: float, counts: bool) -> None:
        """Give the head back; it stays first in its lane.

        Args:
            delay_s: nobody enters the lane before it is over.
            counts: whether this attempt brings the message closer to the dead letters.
        """
        keys = [self.keys.lease(self.name, lease.lane), self.stream]
        arguments: list[Argument] = [
            *(lease.fence, int(delay_s * 1000), int(counts)),
            *(self.group, self.lease_ms),
        ]
        with bus_errors("a message could not be given back"):
            await repeat(lambda: self.run_script("nack", keys, arguments), for_s=10)

    async def commit(self, lease: Lease, owner: str, commit: Commit) -> Lease | None:
        """Finish the head with all its effects, or with none.

        Returns: the lease of the next head, or None when the lane is empty.

        Raises:
            LeaseLost: a newer fence was given out; nothing was written.
            TurnCancelled: the head was cancelled, and the commit yields to that; nothing was written.
        """
        keys = [*self._lane_keys(lease.lane), self.keys.cancelled(self.name, lease.lane)]
        arguments: list[Argument] = [
            *(self.group, lease.head, lease.fence, owner, self.lease_ms, self._attempt_limit),
            *(self.name, lease.lane, commit.dead_letter, int(commit.unless_cancelled)),
        ]
        for effect in commit.effects:
            arguments += [effect.name, len(keys) + 1, len(effect.arguments), *effect.arguments]
            keys += effect.keys
        with bus_errors("a result could not be stored"):
            # The work is done and worth more than the wait for a server that restarts.
            answer = await repeat(
                lambda: self.run_script("commit", keys, arguments, confirmed=True), for_s=60
            )
        match answer[0]:
            case b"FENCED":
                raise LeaseLost(f"lane {lease.lane} has another owner")
            case b"CANCELLED":
                raise TurnCancelled(f"entry {lease.head} was cancelled")
            case b"RUN":
                return _lease(lease.lane, answer)
        return None

    async def reject(self, entry: str, reason: str) -> bool:
        """Move an entry nobody can read to the dead letters; False when it was gone already."""
        with bus_errors("an entry could not be rejected"):
            keys = [self.stream, self.keys.dead]
            return bool(await self.run_script("reject", keys, [self.group, entry, self.name, reason]))

    async def retire(self, consumer: str) -> int:
        """Remove a consumer and offer what it had not finished to the others; returns how many."""
        with bus_errors("a consumer could not be removed"):
            return int(await self.run_script("retire", [self.stream], [self.group, consumer]))

    async def lanes_of(self, entries: Sequence[bytes]) -> list[tuple[str, str | None]]:
        """Tell the lane of each entry that is not done.

        Returns: entry and lane; empty where it names none, None where it is no longer on the stream.
        """
        with bus_errors("the lanes of entries could not be read"):
            answer = await self.run_script("lanes", [self.stream], [self.group, *entries])
        found = [pair for pair in zip(entries, answer, strict=True) if pair[1] != DONE]
        return [(_text(entry), None if lane is None else _text(lane)) for entry, lane in found]

    async def orphaned_heads(self, lanes: Sequence[str]) -> list[Entry]:
        """Find heads that no consumer will be told of, after somebody removed entries, a consumer or the group."""
        keys = [self.stream, *(self.keys.lane(self.name, lane) for lane in lanes)]
        with bus_errors("the lanes could not be checked"):
            heads = await self.run_script("orphans", keys, [self.group])
        pairs = zip(lanes, heads, strict=True)
        return [Entry(id=_text(head), lane=lane) for lane, head in pairs if head is not None]

    async def age_s(self, entry: str) -> float:
        """Tell how many seconds ago an entry came, by the clock of Redis."""
        with bus_errors("the age of an entry could not be read"):
            return int(await self.run_script("age", [self.stream], [entry])) / 1000

    async def backlog(self) -> int:
        """Count the entries that wait or run."""
        with bus_errors("the backlog could not be read"):
            return int(await self.redis.xlen(self.stream))

    @property
    def _attempt_limit(self) -> int:
        # One more than the worker's own limit: the extra attempt writes the dead letter and tells the person.
        return self.limits.attempts + 2

    def _lane_keys(self, lane: str) -> list[str]:
        return [
            self.stream,
            self.keys.lane(self.name, lane),
            self.keys.lease(self.name, lane),
            self.keys.fence,
            self.keys.dead,
            self.keys.fence_source,
        ]

    async def run_script(
        self, script: str, keys: list[str], arguments: Sequence[Argument], *, confirmed: bool = False
    ) -> Any:
        """Run one of the scripts of this folder.

        Args:
            confirmed: return only once as many replicas have it as the limits want.
        """
        if script not in self._loaded:
            shared = (_SCRIPTS / "_lane.lua").read_text("utf-8")
            source = (_SCRIPTS / f"{script}.lua").read_text("utf-8")
            self._loaded[script] = self.redis.register_script(f"{shared}\n{source}")
        if confirmed and self.limits.replicas:
            return await run_confirmed(
                self.redis, self._loaded[script], keys, arguments, replicas=self.limits.replicas
            )
        return await self._loaded[script](keys=keys, args=arguments)


def _lease(lane: str, answer: Sequence[Any]) -> Lease:
    _, head, fence, attempts, retries, crashes, body = answer
    return Lease(
        lane=lane,
        head=head.decode(),
        fence=int(fence),
        attempts=int(attempts),
        retries=int(retries),
        crashes=int(crashes),
        body=body,
    )


def _text(part: bytes) -> str:
    return part.decode("utf-8", "replace")
