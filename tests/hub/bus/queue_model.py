"""What the keys of an ordered queue should hold after any sequence of calls, in a few lines of Python."""

from collections import defaultdict
from dataclasses import dataclass, field

from hub.bus.queue import QueueLimits

LANES, OWNERS = ("a", "b"), ("me", "you", "them")
LIMITS = QueueLimits(backlog=7, lane=4, lease_s=3600, attempts=1)
ATTEMPTS = LIMITS.attempts + 2
"""What the scripts themselves allow; see `OrderedQueue`."""


@dataclass(slots=True)
class ModelLease:
    """What the lease of a lane should hold."""

    owner: str | None = None
    """None: free; empty: given back."""
    is_over: bool = True
    fence: int = 0
    head: str = ""
    attempts: int = 0
    crashes: int = 0
    done: tuple[str, int] = ("", 0)


@dataclass(slots=True)
class Model:
    """What the keys should hold."""

    seen: dict[str, str] = field(default_factory=dict)
    lane_of: dict[str, str] = field(default_factory=dict)
    lanes: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    leases: defaultdict[str, ModelLease] = field(default_factory=lambda: defaultdict(ModelLease))
    stream: dict[str, bytes] = field(default_factory=dict)
    """Bodies by entry, in the order of intake."""
    pending: dict[str, str] = field(default_factory=dict)
    """Consumers by entry."""
    delivered: int = 0
    """How many entries were accepted before the last one that was read."""
    dead: list[tuple[str, bytes]] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
    stops: dict[str, int] = field(default_factory=dict)
    """How many entries each one has cancelled that does so and is not done."""
    replies: list[str] = field(default_factory=list)

    def accept(self, key: str, lane: str, entry: str, body: bytes, *, stops: bool) -> None:
        """Take an entry in."""
        if stops and self.lanes[lane]:
            self.cancelled.update(self.lanes[lane])
            self.stops[entry] = len(self.lanes[lane])
        self.seen[key] = entry
        self.lane_of[entry] = lane
        self.lanes[lane].append(entry)
        self.stream[entry] = body

    def read(self, owner: str, count: int) -> list[str]:
        """Return what a consumer is given that asks for new entries."""
        accepted = list(self.lane_of)
        new = [entry for entry in accepted[self.delivered :] if entry in self.stream][:count]
        if new:
            self.delivered = accepted.index(new[-1]) + 1
        self.pending.update(dict.fromkeys(new, owner))
        return new

    def was_delivered(self, entry: str) -> bool:
        """Tell whether an entry, or a later one, was read."""
        return list(self.lane_of).index(entry) < self.delivered

    def drop(self, entry: str) -> bool:
        """Take an entry off the stream; tells whether it was there."""
        self.pending.pop(entry, None)
        return self.stream.pop(entry, None) is not None

    def take_head(self, lane: str, owner: str) -> tuple[str, int, int] | None:
        """Return head, attempts and crashes; None when the lane is empty."""
        lease = self.leases[lane]
        while self.lanes[lane]:
            head, attempts, crashes = self.lanes[lane][0], 1, 0
            if lease.head == head:
                attempts = lease.attempts + (lease.owner != owner)
                crashes = lease.crashes + (lease.owner not in (None, "", owner))
            if head in self.stream and attempts <= ATTEMPTS:
                return head, attempts, crashes
            self.dead.append((head, self.stream.get(head, b"")))
            self.drop(self.lanes[lane].pop(0))
        self.leases[lane] = ModelLease(done=lease.done)
        return None

    def is_current(self, lane: str, head: str, fence: int) -> bool:
        """Tell whether a lease may still commit."""
        return self.leases[lane].fence == fence and self.lanes[lane][:1] == [head]

    def give_back(self, lane: str, *, counts: bool, delay_s: float) -> None:
        """Put the head of a lane back."""
        lease = self.leases[lane]
        # Whoever gave it back is who will be told of it first.
        if lease.head in self.pending and lease.head in self.stream:
            self.pending[lease.head] = lease.owner or ""
        lease.owner, lease.fence, lease.is_over = "", 0, delay_s == 0
        lease.attempts -= not counts

    def forget_lane(self, lane: str) -> int:
        """Erase a lane with all that stands in it; returns how many entries went."""
        removed = sum([self.drop(entry) for entry in self.lanes[lane]])
        self.lanes[lane], self.leases[lane] = [], ModelLease()
        self._forget_marks({entry for entry, where in self.lane_of.items() if where == lane})
        return removed

    def forget(self, lane: str, entry: str) -> int:
        """Erase one entry of a lane that others share; returns how many went."""
        lease = self.leases[lane]
        if entry in self.lanes[lane]:
            self.lanes[lane].remove(entry)
        removed = int(self.drop(entry))
        self._forget_marks({entry})
        if lease.owner is not None or lease.head == entry:
            if lease.head == entry:
                self.leases[lane] = ModelLease(done=lease.done)
            else:
                # Another's message is begun anew, and no attempt of it has failed.
                lease.owner, lease.fence, lease.is_over = None, 0, True
                lease.attempts -= 1
        return removed

    def _forget_marks(self, entries: set[str]) -> None:
        self.cancelled -= entries
        for entry in entries:
            self.stops.pop(entry, None)
