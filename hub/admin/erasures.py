"""Erasures that are asked for from outside: noted at once, done by the loop of every hub, told of by their id."""

import asyncio
import secrets

from redis.asyncio import Redis

from hub.erasure.eraser import ErasureJob, Jobs
from hub.erasure.person import Person, Principal
from hub.messages import utc_now


class Erasures:
    """Notes erasures and tells how far they are.

    Args:
        asked: set whenever there is a new one, so that the loop need not wait.
    """

    def __init__(self, redis: Redis, asked: asyncio.Event) -> None:
        self._jobs = Jobs(redis)
        self._asked = asked

    async def begin(self, *principals: Principal) -> ErasureJob:
        """Note that a person is to be erased; nothing tells here whether anybody is known by that name.

        Raises: BusError: Redis is away; nothing was noted.
        """
        job = ErasureJob(id=secrets.token_hex(8), begun_at=utc_now(), person=Person.named(*principals))
        await self._jobs.add(job)
        self._asked.set()
        return job

    async def all(self) -> list[ErasureJob]:
        """Return all erasures, oldest first.

        Raises: BusError: Redis is away.
        """
        return await self._jobs.all()

    async def one(self, erasure: str) -> ErasureJob | None:
        """Return one; None where there is none of the id.

        Raises: BusError: Redis is away.
        """
        return next((job for job in await self._jobs.all() if job.id == erasure), None)
