"""The ordered queue's scripts against a model of a few lines, under random sequences of calls."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from hub.bus.connection import connect
from hub.bus.effects import publish_effect
from hub.bus.keys import Keys
from hub.bus.queue import Busy, Commit, Lease, OrderedQueue, QueueLimits
from hub.errors import LeaseLost, TurnCancelled
from tests.servers.redis import RedisServer

LANES, OWNERS = ("a", "b"), ("me", "you", "them")
LIMITS = QueueLimits(backlog=7, lane=4, lease_s=3600, attempts=1)
ATTEMPTS = LIMITS.attempts + 2
"""What the scripts themselves allow; see `OrderedQueue`."""


@pytest.fixture(scope="module")
def quick_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that does not wait for its disk."""
    with RedisServer(tmp_path_factory.mktemp("redis"), appendfsync="no") as server:
        yield server


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
    lanes: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    leases: defaultdict[str, ModelLease] = field(default_factory=lambda: defaultdict(ModelLease))
    stream: set[str] = field(default_factory=set)
    dead: list[str] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
    stops: dict[str, int] = field(default_factory=dict)
    """How many entries each one has cancelled that does so and is not done."""
    replies: list[str] = field(default_factory=list)

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
            self.dead.append(self.lanes[lane].pop(0))
            self.stream.discard(head)
        self.leases[lane] = ModelLease(done=lease.done)
        return None


class QueueMachine(RuleBasedStateMachine):
    """Calls scripts and model alike."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.queue = OrderedQueue(connect(url), Keys(), "inbound", "engine", LIMITS)
        self.redis: Any = self.queue.redis
        self.model = Model()
        self.last_fence = 0
        self.run(self.redis.flushall())
        self.run(self.redis.xgroup_create(self.queue.stream, "engine", id="0", mkstream=True))

    def run(self, call: Any) -> Any:
        """Await a call."""
        return self.runner.run(_awaited(call))

    def teardown(self) -> None:
        """Close the connection."""
        self.run(self.redis.aclose())
        self.runner.close()

    entries = Bundle("entries")
    leases = Bundle("leases")

    @rule(target=entries, lane=st.sampled_from(LANES), number=st.integers(0, 12), stops=st.booleans())
    def publish(self, lane: str, number: int, stops: bool) -> Any:
        """Publish, often with a key that was used before; some messages cancel what stands before them."""
        key, model = f"{lane}{number}", self.model
        answer = self.run(self.queue.publish(key, lane, key.encode(), remember_s=600, stops=stops))
        if key in model.seen:
            assert (answer.status, answer.entry) == ("DUPLICATE", model.seen[key])
        elif len(model.stream) >= LIMITS.backlog:
            assert answer.status == "FULL"
        elif len(model.lanes[lane]) >= LIMITS.lane and not stops:
            assert answer.status == "LANE_FULL"
        else:
            assert answer.status == "OK"
            assert (answer.backlog, answer.lane) == (len(model.stream), len(model.lanes[lane]))
            if stops and model.lanes[lane]:
                model.cancelled.update(model.lanes[lane])
                model.stops[answer.entry] = len(model.lanes[lane])
            model.seen[key] = answer.entry
            model.lanes[lane].append(answer.entry)
            model.stream.add(answer.entry)
            return (lane, answer.entry)
        return multiple()

    def check_taken(self, lane: str, owner: str, taken: Lease | None) -> Any:
        """Compare the lease of a head with the model's and note it."""
        expected = self.model.take_head(lane, owner)
        if expected is None or taken is None:
            assert expected is None
            assert taken is None
            return multiple()
        assert (taken.head, taken.attempts, taken.crashes) == expected
        assert taken.fence > self.last_fence
        self.last_fence = taken.fence
        head, attempts, crashes = expected
        self.model.leases[lane] = ModelLease(
            owner, False, taken.fence, head, attempts, crashes, self.model.leases[lane].done
        )
        return (taken, owner)

    @rule(target=leases, entry=entries, owner=st.sampled_from(OWNERS))
    def enter(self, entry: tuple[str, str], owner: str) -> Any:
        """Enter a lane with any entry it ever had."""
        lane, entry_id = entry
        answer = self.run(self.queue.enter(entry_id, lane, owner))
        lease = self.model.leases[lane]
        if entry_id not in self.model.lanes[lane]:
            assert answer is None
            return multiple()
        if lease.owner not in (None, owner) and not lease.is_over:
            assert isinstance(answer, Busy)
            return multiple()
        return self.check_taken(lane, owner, answer)

    @rule(lease=leases, times=st.integers(1, 2))
    def renew(self, lease: tuple[Lease, str], times: int) -> None:
        """Renew any lease that was ever given out."""
        mine, current = lease[0], self.model.leases[lease[0].lane]
        is_mine = current.fence == mine.fence
        for _ in range(times):
            assert self.run(self.queue.renew(mine)) == is_mine
        if is_mine:
            current.is_over = False

    @rule(lane=st.sampled_from(LANES))
    def worker_dies(self, lane: str) -> None:
        """Let the lease of a lane, or the delay of what was given back, be over."""
        if self.model.leases[lane].owner is not None:
            self.run(self.redis.hset(self.queue.keys.lease("inbound", lane), "expires", 0))
            self.model.leases[lane].is_over = True

    @rule(lease=leases, counts=st.booleans(), delay_s=st.sampled_from([0, 3600]), times=st.integers(1, 2))
    def give_back(self, lease: tuple[Lease, str], counts: bool, delay_s: float, times: int) -> None:
        """Give any head back, sometimes twice because the answer was lost."""
        mine, current = lease[0], self.model.leases[lease[0].lane]
        for _ in range(times):
            self.run(self.queue.nack(mine, delay_s=delay_s, counts=counts))
        if current.fence == mine.fence:
            current.owner, current.fence, current.is_over = "", 0, delay_s == 0
            current.attempts -= not counts

    @rule(entry=entries, whole_lane=st.booleans(), times=st.integers(1, 2))
    def cancel(self, entry: tuple[str, str], whole_lane: bool, times: int) -> None:
        """Cancel any entry there ever was, or all that stand in its lane."""
        lane, entry_id = entry
        standing = [one for one in self.model.lanes[lane] if whole_lane or one == entry_id]
        for _ in range(times):
            assert self.run(self.queue.cancel(lane, "" if whole_lane else entry_id)) == standing
        self.model.cancelled.update(standing)

    @rule(target=leases, lease=leases, times=st.integers(1, 2), yields=st.booleans())
    def commit(self, lease: tuple[Lease, str], times: int, yields: bool) -> Any:
        """Commit with any lease, sometimes twice because the answer was lost; some commits yield to a cancel."""
        mine, owner = lease
        outcome: Any = multiple()
        effects = (publish_effect(self.queue.keys, "outbound:web", mine.lane, mine.body),)
        commit = Commit(effects, unless_cancelled=yields)
        for _ in range(times):
            current = self.model.leases[mine.lane]
            mark = (mine.head, mine.fence)
            is_again = current.done == mark
            if not is_again and (
                current.fence != mine.fence or self.model.lanes[mine.lane][:1] != [mine.head]
            ):
                with pytest.raises(LeaseLost):
                    self.run(self.queue.commit(mine, owner, commit))
                continue
            if not is_again and yields and mine.head in self.model.cancelled:
                with pytest.raises(TurnCancelled):
                    self.run(self.queue.commit(mine, owner, commit))
                continue
            answer = self.run(self.queue.commit(mine, owner, commit))
            if is_again and current.owner != owner:
                assert answer is None
                continue
            if not is_again:
                self.model.replies.append(mine.body.decode())
                self.model.stream.discard(self.model.lanes[mine.lane].pop(0))
                self.model.cancelled.discard(mine.head)
                self.model.stops.pop(mine.head, None)
                current.done = mark
            outcome = self.check_taken(mine.lane, owner, answer)
        return outcome

    @rule(entry=consumes(entries))
    def remove(self, entry: tuple[str, str]) -> None:
        """Delete an entry by hand."""
        self.run(self.redis.xdel(self.queue.stream, entry[1]))
        self.model.stream.discard(entry[1])

    @rule(lane=st.sampled_from(LANES))
    def forget_scripts(self, lane: str) -> None:
        """Make the server forget its scripts."""
        self.run(self.redis.script_flush())

    @invariant()
    def keys_are_as_the_model_says(self) -> None:
        """I2 to I5: lanes, stream, dead letters and replies agree."""
        model, keys = self.model, self.queue.keys
        for lane in LANES:
            entries = self.run(self.redis.lrange(keys.lane("inbound", lane), 0, -1))
            assert [entry.decode() for entry in entries] == model.lanes[lane]
        stream = self.run(self.redis.xrange(self.queue.stream))
        assert {entry.decode() for entry, _ in stream} == model.stream
        dead = self.run(self.redis.xrange(keys.dead))
        assert [fields[b"entry"].decode() for _, fields in dead] == model.dead
        marks: dict[bytes, bytes] = {}
        for lane in LANES:
            marks |= self.run(self.redis.hgetall(keys.cancelled("inbound", lane)))
        stops = {entry: int(count) for entry, count in marks.items() if entry.startswith(b"by:")}
        assert stops == {f"by:{entry}".encode(): count for entry, count in model.stops.items()}
        assert {entry.decode() for entry in marks if entry not in stops} == model.cancelled
        replies = self.run(self.redis.xrange(keys.stream("outbound:web")))
        assert [fields[b"body"].decode() for _, fields in replies] == model.replies
        assert len(set(model.replies)) == len(model.replies)
        for lane in LANES:
            intake = list(model.seen)
            answered = [key for key in model.replies if key.startswith(lane)]
            assert answered == sorted(answered, key=intake.index)


async def _awaited(call: Any) -> Any:
    return await call


def test_scripts_agree_with_the_model(quick_redis: RedisServer) -> None:
    """Publish, enter, renew, crash, give back, cancel, commit and repeat, in any order."""
    machine: Any = partial(QueueMachine, quick_redis.url)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=120,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
