"""The loop that works on an ordered queue: reads entries, enters their lanes, renews leases, commits, drains.

The engine's workers and the connectors' senders are both this class with another handler.
"""

import asyncio
import contextlib
import os
import random
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import structlog

from hub.bus.counts import FAILED, HELD, LOST, UNREAD, Counts
from hub.bus.entries import entry_order
from hub.bus.gate import Gate
from hub.bus.queue import Busy, Commit, CommitOutcome, Entry, Lease, OrderedQueue
from hub.bus.reader import StreamReader
from hub.errors import BusError, LeaseLost, TurnCancelled
from hub.waiting import happens

log = structlog.get_logger(__name__)

TURNS_IN_A_ROW = 8
"""After so many turns a lane goes to the end of the line, so that others get its slot."""
LONGEST_BACKOFF_S = 30.0
SUSPECT_CRASHES = 2
"""A head that was in so many processes when they ended runs alone: if it is the one that ends them, no other message
is blamed with it."""

Handler = Callable[[Lease], Awaitable[Commit]]
"""Works on one head and says how it ends.

Raises: GiveBack: not now. Any other exception: a counted failure, tried again later. A cancelled handler must
leave nothing behind: its lease is lost or the process stops."""

Bury = Callable[[Lease], Awaitable[Commit]]
"""Says how a head ends whose attempts are used up."""


class GiveBack(Exception):
    """The head stays first and is tried again after `delay_s`.

    With `counts` it comes closer to the dead letters; without, it may be tried for ever.
    """

    def __init__(self, delay_s: float, *, counts: bool = False) -> None:
        super().__init__(f"given back for {delay_s:.1f} s")
        self.delay_s = delay_s
        self.counts = counts


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerOptions:
    """How much a consumer does at once and how it stops."""

    concurrency: int = 4
    drain_timeout_s: float = 20.0
    backoff_s: float = 1.0
    """Wait after the first counted failure; doubled by each further one."""
    stale_every_s: float = 5.0
    """How often to look for entries whose consumer is gone."""
    orphans_every_s: float = 60.0
    """How often to look for work that somebody has hidden by hand, and for names of dead consumers."""


@dataclass(frozen=True, slots=True)
class _Comeback:
    """What to come back to, and how."""

    entry: str
    delay_s: float = 0.0
    alone: bool = False


def consumer_name() -> str:
    """Make a name no other consumer has had: host, process and a random part."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class Consumer:
    """A member of a consumer group, working on several lanes at once, on one entry of each at a time."""

    def __init__(
        self,
        queue: OrderedQueue,
        reader: StreamReader,
        *,
        name: str,
        handle: Handler,
        bury: Bury,
        options: ConsumerOptions | None = None,
        counts: Counts | None = None,
    ) -> None:
        self.name = name
        self._counts = counts or Counts()
        self._queue = queue
        self._reader = reader
        self._handle = handle
        self._bury = bury
        self._options = options or ConsumerOptions()
        self._slots = asyncio.Semaphore(self._options.concurrency)
        self._gate = Gate()
        self._free = asyncio.Event()
        self._free.set()
        self._busy = 0
        # A lane made room for others: the next read asks for one entry even though all slots look taken.
        self._made_room = False
        self._lanes: dict[str, asyncio.Task[None]] = {}
        # The newest entry that arrived for a lane this consumer was in: looked at once more when it leaves it.
        self._missed: dict[str, str] = {}
        self._stopping = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain and leave the group."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read_loop(stop), name=f"read {self._queue.name}")
            tasks.create_task(self._claim_loop(stop), name=f"claim {self._queue.name}")
            # Not only once the blocking read has returned: until then lanes would take further heads.
            await stop.wait()
            self._stopping.set()
            deadline = asyncio.get_running_loop().time() + self._options.drain_timeout_s
            await self._reader.wake()
        await self._drain(deadline)

    # -- intake ------------------------------------------------------------------------------------------

    async def _read_loop(self, stop: asyncio.Event) -> None:
        ready = False
        while not stop.is_set():
            try:
                if not ready:
                    await self._reader.ensure_group()
                    ready = True
                if await happens(self._free, within_s=0.5) and not stop.is_set():
                    self._made_room = False
                    entries = await self._reader.read(max(1, self._options.concurrency - self._busy))
                    begun = [await self._offer(entry) for entry in entries]
                    if entries and not any(begun):
                        # All of them belong to lanes that are worked on here: the room is still there for others.
                        self._made_room = True
                    self._mark_free()
                    # Let the new lanes take their slots before the next read counts what is free.
                    await asyncio.sleep(0)
            except BusError as error:
                self._counts.add(UNREAD, self._queue.name)
                log.warning("stream_read_failed", queue=self._queue.name, error=str(error))
                await happens(stop, within_s=random.uniform(0.2, 1.0))  # noqa: S311 - jitter

    async def _claim_loop(self, stop: asyncio.Event) -> None:
        clock = asyncio.get_running_loop().time
        next_orphans = clock() + self._options.orphans_every_s / 2
        while not await happens(stop, within_s=self._options.stale_every_s):
            try:
                async for entry in self._reader.stale(self._queue.limits.lease_s):
                    await self._offer(entry)
                if clock() >= next_orphans:
                    next_orphans = clock() + self._options.orphans_every_s
                    async for entry in self._reader.orphans():
                        await self._offer(entry)
                    await self._reader.forget_dead()
            except BusError as error:
                log.warning("stale_entries_not_read", queue=self._queue.name, error=str(error))

    async def _offer(self, entry: Entry) -> bool:
        """Begin with an entry's lane; False when there is nothing to begin."""
        if not entry.lane:
            await self._reject(entry)
        elif entry.lane in self._lanes:
            # A lane is worked through in order: once the newest is done, so are the others.
            self._missed[entry.lane] = _newest(entry.id, self._missed.get(entry.lane, "0-0"))
        else:
            self._start(entry.lane, entry.id)
            return True
        return False

    async def _reject(self, entry: Entry) -> None:
        log.error("foreign_entry_rejected", queue=self._queue.name, entry=entry.id)
        try:
            await self._queue.reject(entry.id, "the entry names no lane")
        except BusError as error:
            # It stays pending and is found again; the entries read with it must not wait for it.
            log.warning("foreign_entry_not_rejected", queue=self._queue.name, error=str(error))

    def _start(self, lane: str, entry: str) -> None:
        task = asyncio.create_task(self._work(lane, entry), name=f"lane {lane}")
        self._lanes[lane] = task
        task.add_done_callback(lambda _: self._leave(lane, task))

    def _leave(self, lane: str, task: "asyncio.Task[None]") -> None:
        del self._lanes[lane]
        if not task.cancelled() and (error := task.exception()):
            # Its lease runs out, and whoever looks then goes on; the attempt counts.
            log.error("lane_failed", queue=self._queue.name, lane=lane, exc_info=error)
        missed = self._missed.pop(lane, None)
        if missed is not None and not self._stopping.is_set():
            self._start(lane, missed)

    # -- one lane ----------------------------------------------------------------------------------------

    async def _work(self, lane: str, entry: str) -> None:
        alone = False
        while not self._stopping.is_set():
            async with self._slot(), self._gate.entered(alone=alone):
                comeback = await self._visit(lane, entry, alone=alone)
            if comeback is None:
                return
            entry, delay_s, alone = comeback.entry, comeback.delay_s, comeback.alone
            if not delay_s:
                self._made_room = True
                self._mark_free()
            # A lane that waits holds no slot: a hundred unreachable destinations do not stop the others.
            await happens(self._stopping, within_s=delay_s)

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        self._busy += 1
        self._mark_free()
        try:
            async with self._slots:
                yield
        finally:
            self._busy -= 1
            self._mark_free()

    def _mark_free(self) -> None:
        if self._busy < self._options.concurrency or self._made_room:
            self._free.set()
        else:
            self._free.clear()

    async def _visit(self, lane: str, entry: str, *, alone: bool) -> _Comeback | None:
        """Work through a lane while it has heads; None when somebody else goes on with it."""
        lease: Lease | None = None
        if self._stopping.is_set():
            return None
        try:
            entered = await self._queue.enter(entry, lane, self.name)
            if entered is None or isinstance(entered, Busy):
                return None
            lease = entered
            turns = 0
            while self._may_begin(lease, turns, alone=alone):
                following = await self._turn(lease)
                if following is None:
                    return None
                lease, turns = following, turns + 1
            await self._queue.nack(lease, delay_s=0, counts=False)
            return _Comeback(lease.head, alone=_is_suspect(lease))
        except GiveBack as given:
            return await self._give_back(lease, lane, entry, given)
        except LeaseLost:
            self._counts.add(LOST, self._queue.name)
            log.warning("lease_lost", queue=self._queue.name, lane=lane)
            # Entered once more: it may be a late repetition of our own ENTER that took the lease, and then nobody
            # else comes. A living owner answers Busy.
            return _Comeback(lease.head if lease else entry)
        except BusError as error:
            # Nothing is lost: the entry is pending, and the lane is entered anew.
            log.warning("lane_interrupted", queue=self._queue.name, lane=lane, error=str(error))
            delay_s = min(2.0 ** min(lease.retries if lease else 0, 10), LONGEST_BACKOFF_S)
            return await self._give_back(lease, lane, entry, GiveBack(delay_s))

    def _may_begin(self, lease: Lease, turns: int, *, alone: bool) -> bool:
        if self._stopping.is_set():
            return False
        if alone or _is_suspect(lease):
            return alone and turns == 0
        # Nobody waits for the gate with a lease in hand: a crash inside would be blamed on its head too.
        is_asked_for_room = turns >= TURNS_IN_A_ROW and self._busy >= self._options.concurrency
        return not self._gate.is_wanted_alone and not is_asked_for_room

    async def _give_back(self, lease: Lease | None, lane: str, entry: str, given: GiveBack) -> _Comeback:
        if lease is None:
            return _Comeback(entry, given.delay_s)
        try:
            await self._queue.nack(lease, delay_s=given.delay_s, counts=given.counts)
        except BusError as error:
            # The lease is still ours or runs out by itself.
            log.warning("lane_not_given_back", queue=self._queue.name, lane=lane, error=str(error))
        return _Comeback(lease.head, given.delay_s)

    async def _turn(self, lease: Lease) -> Lease | None:
        renewing = asyncio.create_task(self._renew(lease))
        working = asyncio.create_task(self._attempt(lease))
        self._counts.add(HELD, self._queue.name)
        try:
            await asyncio.wait((renewing, working), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                # The lease is gone: what is being generated must not go on.
                await _cancel(working)
                raise LeaseLost(f"lane {lease.lane} has another owner")
            return await self._commit(lease, await working)
        except TurnCancelled:
            # Just before its commit: the handler sees the mark when the head comes again, and ends it.
            raise GiveBack(0) from None
        except asyncio.CancelledError:
            await _cancel(working)
            with contextlib.suppress(BusError):
                await self._queue.nack(lease, delay_s=0, counts=False)
            raise
        finally:
            self._counts.add(HELD, self._queue.name, -1)
            await _cancel(renewing)

    async def _commit(self, lease: Lease, commit: Commit) -> Lease | None:
        committing = asyncio.create_task(self._store(lease, commit))
        try:
            return await asyncio.shield(committing)
        except asyncio.CancelledError:
            # Draining: the commit is under way and may not be torn; the head it hands over goes back.
            following = await committing
            if following is not None:
                await self._queue.nack(following, delay_s=0, counts=False)
            raise

    async def _store(self, lease: Lease, commit: Commit) -> Lease | None:
        began = time.monotonic()
        outcome: CommitOutcome = "interrupted"
        try:
            following = await self._queue.commit(lease, self.name, commit)
            outcome = "committed"
            return following
        except LeaseLost:
            outcome = "fenced"
            raise
        except TurnCancelled:
            outcome = "cancelled"
            raise
        finally:
            commit.tell(outcome, (time.monotonic() - began) * 1000)

    async def _attempt(self, lease: Lease) -> Commit:
        is_used_up = lease.attempts > self._queue.limits.attempts
        try:
            return await (self._bury(lease) if is_used_up else self._handle(lease))
        except (GiveBack, BusError):
            raise
        except Exception:
            self._counts.add(FAILED, self._queue.name)
            log.exception("attempt_failed", queue=self._queue.name, lane=lease.lane, attempt=lease.attempts)
            delay_s = self._options.backoff_s * 2 ** (lease.attempts - 1) * random.uniform(0.8, 1.2)  # noqa: S311
            raise GiveBack(delay_s, counts=True) from None

    async def _renew(self, lease: Lease) -> None:
        """Return once the lease is lost."""
        while True:
            await asyncio.sleep(self._queue.limits.lease_s / 3)
            try:
                if not await self._queue.renew(lease):
                    return
            except BusError as error:
                log.warning("lease_not_renewed", queue=self._queue.name, lane=lease.lane, error=str(error))

    # -- stopping ----------------------------------------------------------------------------------------

    async def _drain(self, deadline: float) -> None:
        # 1. Lanes take no further head since `stop` was set; those between two visits ended at once.
        # 2. Running turns may finish.
        running = list(self._lanes.values())
        if running:
            left_s = max(0.0, deadline - asyncio.get_running_loop().time())
            _, late = await asyncio.wait(running, timeout=left_s)
            # 3. The rest is given back and will be done by others.
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        # 4. What was read but not begun is offered to the others at once.
        try:
            handed_over = await self._queue.retire(self.name)
            log.info("consumer_retired", queue=self._queue.name, handed_over=handed_over)
        except BusError as error:
            log.warning("consumer_not_retired", queue=self._queue.name, error=str(error))
        await self._reader.close()


def _is_suspect(lease: Lease) -> bool:
    return lease.crashes >= SUSPECT_CRASHES


async def _cancel(task: "asyncio.Task[object]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task


def _newest(entry: str, other: str) -> str:
    try:
        return max(entry, other, key=entry_order)
    except ValueError:
        # The head of a lane into which somebody else has put what is no id.
        return entry
