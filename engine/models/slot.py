"""One loaded model as the manager sees it: who uses it, what it takes, and when it may go."""

import asyncio
from datetime import datetime

import structlog

from engine.models.base import ChatModel, ModelStatistics
from engine.models.opener import ModelOpener, OpenModel
from hub.errors import ModelError, ModelUnavailable
from hub.messages import utc_now
from hub.model_settings import ModelSettings

log = structlog.get_logger(__name__)


class Slot:
    """A model from the order to load it until its memory is free again."""

    def __init__(self, name: str, settings: ModelSettings, identity: str) -> None:
        self.name = name
        self.settings = settings
        self.identity = identity
        """Of settings and files: another one asks for another slot."""
        self.users = 0
        self.memory_bytes = 0
        """Estimated until it is loaded, then measured."""
        self.is_admitted = False
        """Whether its memory counts: it has been given room."""
        self.statistics = ModelStatistics()
        self.last_used: datetime | None = None
        self.loading: asyncio.Task[None] | None = None
        self.error = ""
        """Why it could not be loaded."""
        self._opened: OpenModel | None = None
        self._loop = asyncio.get_running_loop()
        self._began_s = self.used_at_s = self._loop.time()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def model(self) -> ChatModel:
        """The model; only once it is loaded."""
        if self._opened is None:
            raise ModelError(f"model {self.name} is not loaded")
        return self._opened.model

    @property
    def is_loaded(self) -> bool:
        """Whether it can be asked."""
        return self._opened is not None and not self.failure

    @property
    def failure(self) -> str:
        """Why it can be asked no more; empty while it can."""
        return self._opened.failure if self._opened else ""

    @property
    def is_alone(self) -> bool:
        """Whether its process holds no other model, so that the memory measured is its own."""
        return self._opened is None or self._opened.place is None or self._opened.place.models == 1

    @property
    def process_id(self) -> int:
        """Number of the process it lives in; 0 for this one."""
        return self._opened.process.pid if self._opened and self._opened.process else 0

    @property
    def idle_s(self) -> float:
        """Seconds since anybody used it; 0 while somebody does."""
        return 0.0 if self.users else self._loop.time() - self.used_at_s

    @property
    def age_s(self) -> float:
        """Seconds since it was ordered."""
        return self._loop.time() - self._began_s

    def enter(self) -> None:
        """Begin to use it: it is not closed meanwhile."""
        self.users += 1
        self._idle.clear()

    def leave(self) -> None:
        """Use it no more."""
        self.users -= 1
        self.used_at_s, self.last_used = self._loop.time(), utc_now()
        if not self.users:
            self._idle.set()

    async def ready(self) -> None:
        """Wait until it is loaded; being cancelled does not end the loading, for which others may wait too.

        Raises: ModelUnavailable: it could not be loaded.
        """
        if self.loading and not self.loading.done():
            await asyncio.wait({self.loading})
        if self.error:
            raise ModelUnavailable(self.error)

    async def open(self, opener: ModelOpener, limit_bytes: int) -> None:
        """Load it so that it takes no more than it may.

        Raises: ModelError: it cannot be loaded.
        """
        self._opened = await opener.open(self.name, self.settings, limit_bytes)
        await self.measure()

    async def measure(self) -> None:
        """Look at what it does and takes.

        Raises: ModelError: it does not answer.
        """
        self.statistics = await self.model.statistics()
        self.memory_bytes = self.statistics.memory_bytes or self.memory_bytes

    def kill(self) -> None:
        """End its process, which does not answer any more."""
        if self._opened and self._opened.process:
            self._opened.process.kill()

    async def wait_for_end(self) -> str:
        """Wait until its process ends by itself, and tell why; for ever where it has none."""
        if self._opened is None or self._opened.process is None:
            await asyncio.Event().wait()
            return ""
        return await self._opened.process.wait()

    async def close(self, opener: ModelOpener) -> None:
        """Free its memory as soon as nobody uses it."""
        if self.loading and self.loading is not asyncio.current_task():
            await asyncio.wait({self.loading})
        await self._idle.wait()
        if self._opened is not None:
            await opener.close(self._opened)
        self._opened = None
        self.memory_bytes = 0
