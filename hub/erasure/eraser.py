"""Removes a person everywhere: finds all that is theirs, keeps new messages out meanwhile, looks again, and proves it.

What is under way stands in Redis as a job. A process that is killed leaves it there, and the next one goes on: every
step may be done twice.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import structlog
from pydantic import Field
from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.keys import Keys
from hub.bus.state import State
from hub.erasure.engines import Engines, audiences_of
from hub.erasure.lease import LEASE_S, ErasureLease
from hub.erasure.person import Person, Principal
from hub.erasure.receipt import ErasureReceipt
from hub.erasure.stores import Compacting, PersonalStore, Widening
from hub.errors import HubError
from hub.messages import Message, utc_now

log = structlog.get_logger(__name__)

OWNER = "erasure"
RECEIPT_KEY = "receipt_key"
KEPT_OUT_S = 300
"""How long new messages stay refused when a process is killed; renewed all the while."""
MOST_PASSES = 60
SETTLE_S = 0.5
"""Between two looks that have to find nothing: longer than one command of a connector or worker takes."""
_MOST_STEPS = 20


class ErasureIncomplete(HubError):
    """Something of the person is still there; the job stays, and repeating goes on with it."""


class ErasureJob(Message):
    """An erasure under way."""

    id: str
    stage: Literal["erasing", "compacting", "done"] = "erasing"
    begun_at: datetime
    person: Person | None = None
    """None once nothing of them is left: Redis' files must not keep it."""
    removed: dict[str, int] = Field(default_factory=dict)
    left: dict[str, int] = Field(default_factory=dict)
    receipt: ErasureReceipt | None = None


class Jobs:
    """The erasures of a hub."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._index = Keys().state(OWNER, "jobs")

    def _key(self, job_id: str) -> str:
        return Keys().state(OWNER, f"job:{job_id}")

    async def add(self, job: ErasureJob) -> None:
        """Note a new job; from now on somebody will do it."""
        with bus_errors("the erasure could not be noted"):
            pipe = self._redis.pipeline(transaction=True)
            self._put(pipe, job)
            await pipe.execute()

    async def save(self, job: ErasureJob, lease: ErasureLease) -> None:
        """Keep a job as it is now.

        Raises: ErasureTaken: it is another process's by now.
        """
        await lease.write(lambda pipe: self._put(pipe, job))

    def _put(self, pipe: Any, job: ErasureJob) -> None:
        pipe.set(self._key(job.id), job.model_dump_json())
        pipe.zadd(self._index, {job.id: job.begun_at.timestamp()})

    async def all(self) -> list[ErasureJob]:
        """Return all jobs, oldest first."""
        with bus_errors("the erasures could not be read"):
            ids = await self._redis.zrange(self._index, 0, -1)
            records = await self._redis.mget([self._key(one.decode()) for one in ids]) if ids else []
        return [ErasureJob.model_validate_json(record) for record in records if record]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long an eraser waits."""

    settle_s: float = SETTLE_S
    """Between two looks."""
    lease_s: float = LEASE_S
    """For a process that was killed."""


class Eraser:
    """Goes over all stores; any process may do it, and one does at a time.

    Args:
        stores: everything that may hold something of a person.
        files: written anew at the end.
        engines: stop what runs, so that nobody waits for a model, and forget.
    """

    def __init__(
        self,
        redis: Redis,
        stores: Sequence[PersonalStore],
        files: Sequence[Compacting],
        *,
        shards: int,
        version: str,
        engines: Engines | None = None,
        pace: Pace = Pace(),
    ) -> None:
        self._redis: Any = redis
        self._jobs = Jobs(redis)
        self._state = State(redis, OWNER)
        self._stores = stores
        self._files = files
        self._shards = [Keys(shard) for shard in range(shards)]
        self._version = version
        self._engines = engines
        self._pace = pace
        self._lease = ErasureLease(redis, OWNER, lease_s=pace.lease_s)
        self._out: frozenset[str] = frozenset()
        """Names that are kept out just now."""
        self._marking = asyncio.Lock()

    async def find(self, *principals: Principal) -> Person:
        """Find everything that is linked to somebody.

        Raises: HubError: a store cannot be read.
        """
        return await self._widened(Person.named(*principals))

    async def erase(self, *principals: Principal) -> ErasureReceipt:
        """Remove a person from every store, and prove it.

        Raises:
            ErasureIncomplete: something is still there; call again.
            HubError: a store or a file could not be written; call again.
        """
        job = ErasureJob(id=secrets.token_hex(8), begun_at=utc_now(), person=Person.named(*principals))
        await self._jobs.add(job)
        async with self._lease.held(wait=True, renewed=self._refuse):
            # While this one waited, whoever resumes erasures may have done it.
            [job] = [one for one in await self._jobs.all() if one.id == job.id]
            return await self._finish(job)

    async def resume(self, *, wait: bool = True) -> list[ErasureReceipt]:
        """Go on with every erasure that was not finished; returns the receipts.

        Args:
            wait: for a process that erases just now; nothing is done otherwise.

        Raises: HubError: as `erase`, once all others are finished.
        """
        receipts, errors = list[ErasureReceipt](), list[HubError]()
        async with self._lease.held(wait=wait, renewed=self._refuse) as is_held:
            for job in await self._jobs.all() if is_held else ():
                if job.stage != "done":
                    try:
                        receipts.append(await self._finish(job))
                    except HubError as error:
                        errors.append(error)
        if errors:
            raise errors[0]
        return receipts

    async def receipts(self) -> list[ErasureReceipt]:
        """Return the receipts of all erasures that are done, oldest first."""
        return [job.receipt for job in await self._jobs.all() if job.receipt is not None]

    async def key(self) -> bytes:
        """Return the key that receipts are signed with."""
        return await self._state.shared_secret(RECEIPT_KEY)

    async def _finish(self, job: ErasureJob) -> ErasureReceipt:
        if job.receipt is not None:
            return job.receipt
        self._out = frozenset()
        log.info("erasure_begun", erasure=job.id, stage=job.stage)
        if job.stage == "erasing":
            job = await self._empty(job)
        if job.stage == "compacting":
            for file in self._files:
                await self._lease.check()
                await file.compact()
            receipt = ErasureReceipt(
                id=job.id,
                begun_at=job.begun_at,
                finished_at=utc_now(),
                removed=job.removed,
                left=job.left,
                files=tuple(file.name for file in self._files),
                version=self._version,
            ).signed(await self.key())
            job = job.model_copy(update={"stage": "done", "receipt": receipt})
            await self._jobs.save(job, self._lease)
        assert job.receipt is not None
        log.info("erasure_done", erasure=job.id, removed=sum(job.removed.values()))
        return job.receipt

    async def _empty(self, job: ErasureJob) -> ErasureJob:
        """Remove until every store was found empty twice, with a pause for what was under way."""
        assert job.person is not None
        person, removed, clean = job.person, Counter(job.removed), 0
        for _ in range(MOST_PASSES):
            person = await self._keep_out(person)
            job = job.model_copy(update={"person": person, "removed": dict(removed)})
            await self._jobs.save(job, self._lease)
            if self._engines is not None:
                await self._tell(self._engines, person, stop=not clean)
            # In the order of the registry: what tells more of the person comes last.
            for store in self._stores:
                await self._lease.check()
                removed[store.name] += await store.erase(person)
            left = {store.name: await store.holds(person) for store in self._stores}
            clean = 0 if any(left.values()) else clean + 1
            if clean == 2:
                return await self._let_in(job, person, removed, left)
            await asyncio.sleep(self._pace.settle_s)
        await self._jobs.save(job.model_copy(update={"removed": dict(removed)}), self._lease)
        still = ", ".join(name for name, number in left.items() if number)
        raise ErasureIncomplete(f"something of the person is still in: {still}; please repeat")

    async def _tell(self, engines: Engines, person: Person, *, stop: bool) -> None:
        """Let engines end what they do for the person, and hold nothing of it."""
        for conversation in sorted(person.conversations) if stop else ():
            await engines.stop(conversation)
        # At every pass: what was running at the one before may have left something behind.
        await engines.forget(audiences_of(person))

    async def _let_in(
        self, job: ErasureJob, person: Person, removed: Counter[str], left: dict[str, int]
    ) -> ErasureJob:
        """Forget who it was, and take messages again; in this order, so that nothing is kept by a kill between."""
        counted = {store.name: removed[store.name] for store in self._stores}
        job = job.model_copy(update={"stage": "compacting", "person": None, "removed": counted, "left": left})
        await self._jobs.save(job, self._lease)
        # Not while they are being refused once more.
        async with self._marking:
            self._out = frozenset()
            await self._admit(person)
        return job

    async def _admit(self, person: Person) -> None:
        with bus_errors("messages could not be let in again"):
            for keys in self._shards:
                pipe = self._redis.pipeline(transaction=False)
                for name in person.conversations | person.marks:
                    pipe.delete(keys.erased(name))
                await pipe.execute()

    async def _keep_out(self, person: Person) -> Person:
        """Refuse new messages, and find what belongs to the person besides; until both are one."""
        for _ in range(_MOST_STEPS):
            self._out = person.conversations | person.marks
            await self._refuse()
            if (more := await self._widened(person)) == person:
                return person
            person = more
        return person

    async def _refuse(self) -> None:
        """Refuse new messages for a while; a pass over very much may take longer than that, so it is said again."""
        async with self._marking:
            await self._mark()

    async def _mark(self) -> None:
        with bus_errors("messages could not be kept out"):
            for keys in self._shards if self._out else ():
                pipe = self._redis.pipeline(transaction=False)
                for name in self._out:
                    pipe.set(keys.erased(name), 1, ex=KEPT_OUT_S)
                await pipe.execute()

    async def _widened(self, person: Person) -> Person:
        for _ in range(_MOST_STEPS):
            before = person
            for store in self._stores:
                if isinstance(store, Widening):
                    person = await store.widen(person)
            if person == before:
                break
        return person
