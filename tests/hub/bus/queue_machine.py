"""A machine that calls the ordered queue's scripts and a model of a few lines alike, and compares what they hold."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from hub.bus.effects import publish_effect
from hub.bus.queue import Busy, Commit, Lease
from hub.errors import LeaseLost, TurnCancelled
from tests.hub.bus.queue_model import LANES, LIMITS, OWNERS, Model, ModelLease
from tests.hub.bus.queue_scripts import OUTBOUND, Scripts
from tests.servers.direct import DirectRedis, pairs

_LANE_KINDS = ("lane", "lease", "cancelled")


class QueueMachine(RuleBasedStateMachine):
    """Calls scripts and model alike."""

    def __init__(self, redis: DirectRedis, scripts: Scripts) -> None:
        super().__init__()
        self.redis, self.scripts, self.queue = redis, scripts, scripts.queue
        self.model = Model()
        self.last_fence = self.replies_seen = 0
        # The keys are compared before the first step, too.
        scripts.steps["step"] -= 1
        redis.command("FLUSHALL")
        redis.command("XGROUP", "CREATE", self.queue.stream, "engine", "0", "MKSTREAM")

    def run(self, rule_name: str, call: Any) -> Any:
        """Run a call; it counts for its rule."""
        self.scripts.steps[f"call {rule_name}"] += 1
        return self.redis.run(call)

    def check_invariants(self, settings: Any, output: Any, runtimes: Any) -> None:
        """Count the step that was just made."""
        self.scripts.steps["step"] += 1
        super().check_invariants(settings, output, runtimes)

    entries = Bundle("entries")
    leases = Bundle("leases")

    @rule(target=entries, lane=st.sampled_from(LANES), number=st.integers(0, 30), stops=st.booleans())
    def publish(self, lane: str, number: int, stops: bool) -> Any:
        """Publish, often with a key that was used before; some messages cancel what stands before them."""
        key = f"{lane}{number}"
        return self._publish(key, lane, key.encode(), stops=stops)

    def _publish(self, key: str, lane: str, body: bytes, *, stops: bool = False) -> Any:
        model = self.model
        answer = self.run("publish", self.queue.publish(key, lane, body, remember_s=600, stops=stops))
        if key in model.seen:
            assert (answer.status, answer.entry) == ("DUPLICATE", model.seen[key])
        elif len(model.stream) >= LIMITS.backlog:
            assert answer.status == "FULL"
        elif len(model.lanes[lane]) >= LIMITS.lane and not stops:
            assert answer.status == "LANE_FULL"
        else:
            assert answer.status == "OK"
            assert (answer.backlog, answer.lane) == (len(model.stream), len(model.lanes[lane]))
            model.accept(key, lane, answer.entry, body, stops=stops)
            return (lane, answer.entry)
        return multiple()

    @rule(target=entries, number=st.integers(0, 20))
    def replay_dead_letter(self, number: int) -> Any:
        """Publish a dead letter anew, under a key that tells of which one it is."""
        if number >= len(self.model.dead) or not self.model.dead[number][1]:
            return multiple()
        entry, body = self.model.dead[number]
        return self._publish(f"again:{entry}", self.model.lane_of[entry], body)

    @rule(owner=st.sampled_from(OWNERS), count=st.integers(1, 3))
    def read(self, owner: str, count: int) -> None:
        """Ask for new entries."""
        self.scripts.steps["call read"] += 1
        words = ("GROUP", "engine", owner, "COUNT", count, "STREAMS", self.queue.stream, ">")
        answer = self.redis.command("XREADGROUP", *words)
        found = [entry.decode() for entry, _ in answer[0][1]] if answer else []
        assert found == self.model.read(owner, count)

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
        return self._enter(*entry, owner)

    def _enter(self, lane: str, entry_id: str, owner: str) -> Any:
        answer = self.run("enter", self.queue.enter(entry_id, lane, owner))
        lease = self.model.leases[lane]
        if entry_id not in self.model.lanes[lane]:
            assert answer is None
            self.model.drop(entry_id)
            return multiple()
        if lease.owner not in (None, owner) and not lease.is_over:
            assert isinstance(answer, Busy)
            return multiple()
        return self.check_taken(lane, owner, answer)

    @rule(target=leases, lane=st.sampled_from(LANES), owner=st.sampled_from(OWNERS), turns=st.integers(1, 3))
    def work(self, lane: str, owner: str, turns: int) -> Any:
        """Do what a worker does while nothing goes wrong; returns the lease it holds in the end."""
        if not self.model.lanes[lane]:
            return multiple()
        taken = self._enter(lane, self.model.lanes[lane][0], owner)
        while isinstance(taken, tuple) and turns > 1:
            taken, turns = self.commit_first(taken, owner), turns - 1
        return taken

    @rule(lease=leases, times=st.integers(1, 2))
    def renew(self, lease: tuple[Lease, str], times: int) -> None:
        """Renew any lease that was ever given out."""
        mine, current = lease[0], self.model.leases[lease[0].lane]
        is_mine = current.fence == mine.fence
        for _ in range(times):
            assert self.run("renew", self.queue.renew(mine)) == is_mine
        if is_mine:
            current.is_over = False

    @rule(lane=st.sampled_from(LANES))
    def expire(self, lane: str) -> None:
        """Let the lease of a lane, or the delay of what was given back, be over."""
        if self.model.leases[lane].owner is not None:
            self.redis.command("HSET", self.queue.keys.lease("inbound", lane), "expires", 0)
            self.model.leases[lane].is_over = True

    @rule(owner=st.sampled_from(OWNERS))
    def crash(self, owner: str) -> None:
        """End a worker: all it held runs out, what it was given stays pending with its name."""
        for lane in LANES:
            if self.model.leases[lane].owner == owner:
                self.expire(lane)

    @rule(target=leases, lease=leases, other=st.sampled_from(OWNERS))
    def pause(self, lease: tuple[Lease, str], other: str) -> Any:
        """Let a worker sleep past its lease: what it does when it wakes up leaves no trace."""
        mine, owner = lease
        if not self.model.is_current(mine.lane, mine.head, mine.fence) or owner == other:
            return multiple()
        self.expire(mine.lane)
        taken = self._enter(mine.lane, mine.head, other)
        assert not self.run("renew", self.queue.renew(mine))
        with pytest.raises(LeaseLost):
            self.run("commit", self.queue.commit(mine, owner, self._reply(mine)))
        self.run("nack", self.queue.nack(mine, delay_s=0, counts=True))
        return taken

    @rule(lease=leases, counts=st.booleans(), delay_s=st.sampled_from([0, 3600]), times=st.integers(1, 2))
    def nack(self, lease: tuple[Lease, str], counts: bool, delay_s: float, times: int) -> None:
        """Give any head back, sometimes twice because the answer was lost."""
        mine = lease[0]
        for _ in range(times):
            self.run("nack", self.queue.nack(mine, delay_s=delay_s, counts=counts))
        if self.model.leases[mine.lane].fence == mine.fence:
            self.model.give_back(mine.lane, counts=counts, delay_s=delay_s)

    @rule(entry=entries, whole_lane=st.booleans(), times=st.integers(1, 2))
    def cancel(self, entry: tuple[str, str], whole_lane: bool, times: int) -> None:
        """Cancel any entry there ever was, or all that stand in its lane."""
        lane, entry_id = entry
        standing = [one for one in self.model.lanes[lane] if whole_lane or one == entry_id]
        for _ in range(times):
            assert self.run("cancel", self.queue.cancel(lane, "" if whole_lane else entry_id)) == standing
        self.model.cancelled.update(standing)

    def _reply(self, lease: Lease, **how: Any) -> Commit:
        return Commit((publish_effect(self.queue.keys, OUTBOUND, lease.lane, lease.body),), **how)

    @rule(target=leases, lease=leases, times=st.integers(1, 2), yields=st.booleans(), dies=st.booleans())
    def commit(self, lease: tuple[Lease, str], times: int, yields: bool, dies: bool) -> Any:
        """Commit with any lease, sometimes twice because the answer was lost; some yield to a cancel, some give up."""
        mine, owner = lease
        outcome: Any = multiple()
        commit = self._reply(mine, unless_cancelled=yields, dead_letter="given up" if dies else "")
        for _ in range(times):
            current = self.model.leases[mine.lane]
            mark = (mine.head, mine.fence)
            is_again = current.done == mark
            refusal = self._refusal(mine, is_again=is_again, yields=yields)
            if refusal is not None:
                with pytest.raises(refusal):
                    self.run("commit", self.queue.commit(mine, owner, commit))
                continue
            answer = self.run("commit", self.queue.commit(mine, owner, commit))
            if is_again and current.owner != owner:
                assert answer is None
                continue
            if not is_again:
                self._committed(mine, dies=dies)
            outcome = self.check_taken(mine.lane, owner, answer)
        return outcome

    def _refusal(self, mine: Lease, *, is_again: bool, yields: bool) -> type[Exception] | None:
        if is_again:
            return None
        if not self.model.is_current(mine.lane, mine.head, mine.fence):
            return LeaseLost
        return TurnCancelled if yields and mine.head in self.model.cancelled else None

    def _committed(self, mine: Lease, *, dies: bool) -> None:
        model = self.model
        model.replies.append(mine.body.decode())
        if dies:
            model.dead.append((mine.head, model.stream.get(mine.head, b"")))
        model.drop(model.lanes[mine.lane].pop(0))
        model.cancelled.discard(mine.head)
        model.stops.pop(mine.head, None)
        model.leases[mine.lane].done = (mine.head, mine.fence)

    @rule(lane=st.sampled_from(LANES), entry=entries, whole_lane=st.booleans())
    def forget(self, lane: str, entry: tuple[str, str], whole_lane: bool) -> None:
        """Erase somebody: one entry of a lane that others share, or the lane; meanwhile nothing new is taken."""
        keys, mark = self.queue.keys, self.queue.keys.erased(lane)
        self.redis.command("SET", mark, 1)
        answer = self.run("publish", self.queue.publish("erased", lane, b"", remember_s=600))
        assert (answer.status, answer.entry) == ("FULL", "")
        names = [self.queue.stream, *(getattr(keys, kind)("inbound", lane) for kind in _LANE_KINDS)]
        chosen = [] if whole_lane or entry[0] != lane else [entry[1]]
        if chosen or whole_lane:
            removed = self.run(
                "purge", self.scripts.purge(keys=names, args=["engine", int(whole_lane), *chosen])
            )
            model = self.model
            assert removed == (model.forget_lane(lane) if whole_lane else model.forget(lane, entry[1]))
        self.redis.command("DEL", mark)

    @rule(entry=consumes(entries))
    def remove(self, entry: tuple[str, str]) -> None:
        """Delete an entry by hand."""
        self.redis.command("XDEL", self.queue.stream, entry[1])
        # Its pending mark stays; nobody is told of it.
        self.model.stream.pop(entry[1], None)

    @rule(owner=st.sampled_from(OWNERS), by_hand=st.booleans())
    def retire(self, owner: str, by_hand: bool) -> None:
        """Let a consumer go: in good order, or removed by an operator, who drops what it was given."""
        given = [entry for entry, who in self.model.pending.items() if who == owner]
        if by_hand:
            self.redis.command("XGROUP", "DELCONSUMER", self.queue.stream, "engine", owner)
            for entry in given:
                del self.model.pending[entry]
        else:
            self.run("retire", self.queue.retire(owner))
            self.model.pending.update(dict.fromkeys(given, "orphans"))

    @rule()
    def look_for_orphans(self) -> None:
        """Find the heads that nobody would be told of, and no others."""
        found = self.run("orphans", self.queue.orphaned_heads(LANES))
        assert {(each.lane, each.id) for each in found} == set(self._orphans())

    def _orphans(self) -> Iterator[tuple[str, str]]:
        model = self.model
        for lane in LANES:
            for head in model.lanes[lane][:1]:
                is_hidden = model.was_delivered(head) and head not in model.pending
                if head not in model.stream or is_hidden:
                    yield lane, head

    @rule()
    def forget_scripts(self) -> None:
        """Make the server forget its scripts."""
        self.redis.command("SCRIPT", "FLUSH")

    @invariant()
    def keys_are_as_the_model_says(self) -> None:
        """Lanes, stream, pending entries, dead letters and replies agree."""
        model, scripts = self.model, self.scripts
        held = self.redis.run(scripts.snapshot(keys=scripts.snapshot_keys, args=["engine"]))
        stream, dead, replies, pending, *lanes = held
        assert [entry.decode() for entry, _ in stream] == list(model.stream)
        of_dead = [pairs(fields) for _, fields in dead]
        assert [(each[b"entry"].decode(), each[b"body"]) for each in of_dead] == model.dead
        known = {row[0].decode(): row[1].decode() for row in pending}
        # What was done leaves the list with its entry; what somebody removed by hand, when the server comes upon it.
        assert known.keys() <= model.pending.keys()
        assert {entry: who for entry, who in known.items() if entry in model.stream} == {
            entry: who for entry, who in model.pending.items() if entry in model.stream
        }
        assert [pairs(fields)[b"body"].decode() for _, fields in replies] == model.replies
        marks: dict[bytes, bytes] = {}
        for lane, entries, cancelled in zip(LANES, lanes[::2], lanes[1::2], strict=True):
            assert [entry.decode() for entry in entries] == model.lanes[lane]
            marks |= pairs(cancelled)
        stops = {entry: int(count) for entry, count in marks.items() if entry.startswith(b"by:")}
        assert stops == {f"by:{entry}".encode(): count for entry, count in model.stops.items()}
        assert {entry.decode() for entry in marks if entry not in stops} == model.cancelled

    @invariant()
    def replies_are_in_the_order_of_intake(self) -> None:
        """Each body is answered once; a dead letter that is tried again has its turn at the end."""
        model = self.model
        if len(model.replies) == self.replies_seen:
            return
        self.replies_seen = len(model.replies)
        first = [key for key in model.seen if not key.startswith("again:")]
        answered = list(dict.fromkeys(model.replies))
        for lane in LANES:
            own = [
                key
                for key in answered
                if key.startswith(lane) and f"again:{model.seen[key]}" not in model.seen
            ]
            assert own == sorted(own, key=first.index)
        for body in {key for key in model.replies if model.replies.count(key) > 1}:
            assert f"again:{model.seen[body]}" in model.seen

    def teardown(self) -> None:
        """Let one more worker come, after all others have died: it finds all there is and ends it."""
        self.crash_all()
        model = self.model
        found: dict[str, None] = {}
        for _ in range(len(model.lane_of) + 2):
            found = dict.fromkeys(self._found_by_the_last())
            for entry in found:
                self._work_through(entry)
            if not any(model.lanes.values()):
                break
        assert not any(model.lanes.values()), "a lane is hidden from its workers"
        self.keys_are_as_the_model_says()
        assert model.stream == {}

    def crash_all(self) -> None:
        """Let every lease be over."""
        for lane in LANES:
            self.expire(lane)

    def _found_by_the_last(self) -> Iterator[str]:
        """Yield what a consumer learns of: new entries, stale ones, orphans."""
        self.read("last", 100)
        pending = self.redis.command("XPENDING", self.queue.stream, "engine", "-", "+", 100)
        ids = [row[0] for row in pending]
        for entry, lane in self.run("lanes", self.queue.lanes_of(ids)):
            assert lane == (self.model.lane_of[entry] if entry in self.model.stream else None)
            if lane is not None:
                yield entry
        for orphan in self.run("orphans", self.queue.orphaned_heads(LANES)):
            yield orphan.id

    def _work_through(self, entry: str) -> None:
        taken = self._enter(self.model.lane_of[entry], entry, "last")
        while isinstance(taken, tuple):
            taken = self.commit_first(taken, "last")

    def commit_first(self, lease: tuple[Lease, str], owner: str) -> Any:
        """Commit a head whose lease is held; returns the next one's."""
        mine = lease[0]
        answer = self.run("commit", self.queue.commit(mine, owner, self._reply(mine)))
        self._committed(mine, dies=False)
        return self.check_taken(mine.lane, owner, answer)
