"""What the models of all engines do: each engine writes its own down for a while, anybody reads the sum."""

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

import structlog
from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.keys import Keys
from hub.messages import Message

log = structlog.get_logger(__name__)

KEPT_S = 15
"""What an engine has not written again for so long is not believed any more."""
_BEST_FIRST = ("loaded", "loading", "failed", "unloaded")
_SUMS = (
    "memory_bytes",
    "running",
    "waiting",
    "prompt_tokens",
    "cached_tokens",
    "answer_tokens",
    "steps",
    "step_requests",
    "busy_s",
    "engines",
)


class ModelState(Message):
    """One model, as an operator sees it."""

    name: str
    type: Literal["gguf", "safetensors", "onnx", "remote"]
    state: Literal["unloaded", "loading", "loaded", "failed"] = "unloaded"
    error: str = ""
    """Why it could not be loaded, or ended."""
    roles: tuple[str, ...] = ()
    path: str = ""
    """Name of its file or folder; of a remote one its name there."""
    context_length: int
    """Tokens of prompt and answer together; 0: chosen when it is loaded."""
    parallel: int = 0
    """Requests computed at once; 0: as many as the machine allows."""
    quantization: str = ""
    engines: int = 0
    """Processes that have it loaded."""
    memory_bytes: int = 0
    running: int = 0
    waiting: int = 0
    prompt_tokens: int = 0
    """Since it was loaded, as the next two."""
    cached_tokens: int = 0
    answer_tokens: int = 0
    steps: int = 0
    """Computations, each for all requests that could take part."""
    step_requests: int = 0
    """Requests that took part in them, added up: divided by `steps`, the size of a batch."""
    busy_s: float = 0.0
    last_used: datetime | None = None


_STATES = TypeAdapter(tuple[ModelState, ...])


class ModelStates:
    """The states of one engine for the others, and theirs for this one.

    Args:
        engine: name of this process; made up where it is not given.
    """

    def __init__(self, redis: Redis, engine: str = "") -> None:
        self._redis: Any = redis
        self._engine = engine or secrets.token_hex(8)

    async def write(self, states: Sequence[ModelState]) -> None:
        """Write down what this engine's models do.

        Raises: BusError: Redis is away.
        """
        key, marks = Keys().model_states(self._engine), Keys().alive("models")
        with bus_errors("the states of the models could not be written"):
            now_s = (await self._redis.time())[0]
            pipe = self._redis.pipeline(transaction=False)
            pipe.set(key, _STATES.dump_json(tuple(states)), ex=KEPT_S)
            pipe.zadd(marks, {self._engine: now_s + KEPT_S})
            pipe.zremrangebyscore(marks, "-inf", now_s)
            await pipe.execute()

    async def withdraw(self) -> None:
        """Take this engine's states back.

        Raises: BusError: Redis is away.
        """
        with bus_errors("the states of the models could not be removed"):
            await self._redis.delete(Keys().model_states(self._engine))
            await self._redis.zrem(Keys().alive("models"), self._engine)

    async def others(self) -> list[ModelState]:
        """Return the states of the other engines.

        Raises: BusError: Redis is away.
        """
        found = await self.by_engine()
        return [state for engine, states in found.items() if engine != self._engine for state in states]

    async def by_engine(self) -> dict[str, tuple[ModelState, ...]]:
        """Return the states of all engines, by the names of their processes.

        Raises: BusError: Redis is away.
        """
        with bus_errors("the states of the models could not be read"):
            engines = [mark.decode() for mark in await self._redis.zrange(Keys().alive("models"), 0, -1)]
            keys = [Keys().model_states(engine) for engine in engines]
            rows = await self._redis.mget(keys) if keys else []
        return {engine: _parsed(row) for engine, row in zip(engines, rows, strict=True) if row}


def merged(states: Iterable[ModelState]) -> list[ModelState]:
    """Make one state of those that several engines have of the same model, sorted by name."""
    found: dict[str, ModelState] = {}
    for state in states:
        known = found.get(state.name)
        found[state.name] = _sum(known, state) if known else state
    return [found[name] for name in sorted(found)]


def _sum(one: ModelState, other: ModelState) -> ModelState:
    best, second = sorted((one, other), key=lambda state: _BEST_FIRST.index(state.state))
    used = [state.last_used for state in (one, other) if state.last_used]
    sums = {name: getattr(one, name) + getattr(other, name) for name in _SUMS}
    last_used = max(used) if used else None
    return best.model_copy(update={**sums, "last_used": last_used, "error": best.error or second.error})


def _parsed(row: bytes) -> tuple[ModelState, ...]:
    try:
        return _STATES.validate_json(row)
    except ValidationError:
        log.warning("model_states_unreadable")
        return ()
