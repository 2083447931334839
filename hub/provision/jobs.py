"""Fetches models in the background of a hub: asked for over HTTP, seen by every process, resumed after a restart.

A job is kept in Redis. The process that claims it renews its claim while it works; a claim that runs out belongs to
nobody, and the job is taken up by whoever sees it first, from where it broke off.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import structlog
from pydantic import AwareDatetime, Field, ValidationError

from hub.bus.state import State
from hub.errors import BusError, HubError
from hub.messages import Message, utc_now
from hub.provision.names import Source, check_file, check_model_name, check_repo
from hub.provision.pull import Progress, pull
from hub.provision.repository import Patience
from hub.settings import Settings

log = structlog.get_logger(__name__)

OWNER = "provision"
"""Of the state in Redis."""
MAX_RUNNING = 2
"""Models one process fetches at once."""
CLAIM_S = 30.0
WRITE_S = 1.0
"""Between two writings of how far a job is."""
LOOK_S = 5.0
"""Between two looks for jobs that nobody works on."""
KEPT_S = 7 * 86_400.0
"""How long it can be asked what became of a job."""
_OPEN = "open"


class Job(Message):
    """A model that is to be fetched."""

    id: str
    repo: str
    file: str = ""
    name: str = ""
    """In the registry, as asked for; empty: chosen."""
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    done_bytes: int = 0
    total_bytes: int = 0
    """0 while it is not known."""
    error: str = ""
    model: str = ""
    """Its name in the registry, once it is there."""
    asked_at: AwareDatetime = Field(default_factory=utc_now)
    updated_at: AwareDatetime = Field(default_factory=utc_now)


class ProvisionJobs:
    """Takes jobs, tells about them, and works on them while `run` runs."""

    def __init__(self, settings: Settings, state: State, *, patience: Patience | None = None) -> None:
        self._settings = settings
        self._state = state
        self._patience = patience
        self._wake = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}

    async def start(self, repo: str, file: str = "", name: str = "") -> str:
        """Let a model be fetched; the same one is fetched once, however often it is asked for meanwhile.

        Returns: the job's id.
        Raises: ProvisionError: a name is none. BusError: Redis is away.
        """
        source = Source(check_repo(repo), check_file(file) if file else "")
        name = check_model_name(name) if name else ""
        text = "\n".join((source.repo, source.file, name))
        job_id = hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
        known = await self._read(job_id)
        if known is None or known.state in {"done", "failed"}:
            await self._write(Job(id=job_id, repo=source.repo, file=source.file, name=name))
            log.info("provision_asked", job=job_id, repo=source.repo, file=source.file)
        await self._state.add(_OPEN, job_id)
        self._wake.set()
        return job_id

    async def status(self, job: str) -> Mapping[str, Any] | None:
        """Tell how far a job is; None when there is none of this id.

        Raises: BusError: Redis is away.
        """
        found = await self._read(job)
        return found.model_dump(mode="json") if found else None

    async def run(self, stop: asyncio.Event) -> None:
        """Work on jobs until `stop` is set; what is not done by then goes on in the next process."""
        try:
            while not stop.is_set():
                self._wake.clear()
                try:
                    await self._take_up()
                except BusError as error:
                    log.warning("provision_interrupted", error=str(error))
                await self._wait(stop)
        finally:
            tasks = list(self._running.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait(self, stop: asyncio.Event) -> None:
        waiting = [asyncio.ensure_future(event.wait()) for event in (stop, self._wake)]
        try:
            await asyncio.wait(waiting, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()

    async def _take_up(self) -> None:
        for job_id in await self._state.members(_OPEN):
            if len(self._running) >= MAX_RUNNING:
                return
            if job_id in self._running or await self._state.increment(_claim(job_id), CLAIM_S) > 1:
                continue
            job = await self._read(job_id)
            if job is None or job.state in {"done", "failed"}:
                await self._close(job_id)
                continue
            self._running[job_id] = asyncio.create_task(self._work(job), name=f"provision {job_id}")

    async def _work(self, job: Job) -> None:
        try:
            await self._fetch(job)
        finally:
            del self._running[job.id]
            self._wake.set()

    async def _fetch(self, job: Job) -> None:
        progress = Progress(file="", done_bytes=job.done_bytes, total_bytes=job.total_bytes)

        def report(step: Progress) -> None:
            nonlocal progress
            progress = step

        source = Source(job.repo, job.file)
        pulling = asyncio.create_task(
            pull(self._settings, source, report, name=job.name, patience=self._patience)
        )
        try:
            while not pulling.done():
                await self._renew(job, progress)
                await asyncio.wait({pulling}, timeout=WRITE_S)
            done = _result(job, pulling, progress)
        except asyncio.CancelledError:
            pulling.cancel()
            await asyncio.gather(pulling, return_exceptions=True)
            done = _at(job, progress, state="waiting")
            with contextlib.suppress(BusError):
                await self._write(done)
                await self._state.delete(_claim(job.id))
            raise
        # Where Redis is away now, the claim runs out, and the next look finds the model in its place.
        with contextlib.suppress(BusError):
            await self._write(done)
            await self._close(job.id)
            if (now := await self._read(job.id)) and now.state == "waiting":
                # Asked for again between these two lines.
                await self._state.add(_OPEN, job.id)

    async def _renew(self, job: Job, progress: Progress) -> None:
        try:
            await self._state.set(_claim(job.id), "1", CLAIM_S)
            await self._write(_at(job, progress, state="running"))
        except BusError as error:
            log.warning("provision_not_told", job=job.id, error=str(error))

    async def _close(self, job_id: str) -> None:
        await self._state.discard(_OPEN, job_id)
        await self._state.delete(_claim(job_id))

    async def _read(self, job_id: str) -> Job | None:
        text = await self._state.get(f"job:{job_id}")
        try:
            return Job.model_validate_json(text) if text else None
        except ValidationError:
            log.warning("provision_job_unreadable", job=job_id)
            return None

    async def _write(self, job: Job) -> None:
        await self._state.set(f"job:{job.id}", job.model_dump_json(), KEPT_S)


def _claim(job_id: str) -> str:
    return f"claim:{job_id}"


def _at(job: Job, progress: Progress, **fields: Any) -> Job:
    far = {"done_bytes": progress.done_bytes, "total_bytes": progress.total_bytes}
    return job.model_copy(update={**far, **fields, "updated_at": utc_now()})


def _result(job: Job, pulling: "asyncio.Task[Any]", progress: Progress) -> Job:
    error = pulling.exception()
    if error is None:
        return _at(job, progress, state="done", model=pulling.result().name)
    if isinstance(error, HubError):
        log.warning("provision_failed", job=job.id, repo=job.repo, error=str(error))
        return _at(job, progress, state="failed", error=str(error))
    log.error("provision_broke", job=job.id, repo=job.repo, exc_info=error)
    return _at(job, progress, state="failed", error="it broke; the log of the hub says why")
