"""What replacing a model costs those who talk to it: twenty swaps while people ask, twice, and no turn may fail.

`python -m benchmarks.swap`, with --short five swaps.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from engine.models.base import ChatMessage, GenerateOptions, Prompt, Text
from engine.models.manager import ModelManager
from engine.models.opener import ModelOpener
from hub.errors import ModelError
from hub.logs import LogSettings, configure_logs
from hub.machine import budget_bytes
from hub.model_registry import ModelRegistry
from hub.model_settings import BUNDLED_MODEL, GgufSettings
from hub.settings import Settings

PEOPLE = 4
PAUSE_S = 0.5
"""Between swaps that let people ask meanwhile; right after one another they let nobody end."""
OPTIONS = GenerateOptions(max_tokens=24)
PROMPT = Prompt(messages=(ChatMessage(role="user", text="Name three colours of a rainbow."),))


class People:
    """Ask one question after another until they are told to stop."""

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager
        self.failed = 0
        self.first_text_s: list[float] = []
        self.turn_s: list[float] = []
        self.is_over = False

    async def talk(self) -> None:
        """Ask again and again."""
        while not self.is_over:
            began = time.monotonic()
            try:
                first_text_s = await self._turn(began)
                # Both at once: a line sums up the turns that ended in its time.
                self.first_text_s.append(first_text_s)
                self.turn_s.append(time.monotonic() - began)
            except ModelError as error:
                self.failed += 1
                print(f"a turn failed: {error}")

    async def _turn(self, began: float) -> float:
        first_text_s = 0.0
        async with self._manager.use(BUNDLED_MODEL) as model:
            async for event in model.stream(PROMPT, OPTIONS):
                if isinstance(event, Text) and not first_text_s:
                    first_text_s = time.monotonic() - began
        return first_text_s

    def row(self, name: str) -> str:
        """Sum up what they saw, and begin anew."""
        first, turn = self.first_text_s, self.turn_s
        self.first_text_s, self.turn_s = [], []
        if not turn:
            return f"{name:16}{'-':>8}"
        return (
            f"{name:16}{len(turn):8}{statistics.median(first):10.2f}{max(first):10.2f}"
            f"{statistics.median(turn):10.2f}{max(turn):10.2f}{self.failed:8}"
        )


@asynccontextmanager
async def _managed(folder: Path) -> AsyncIterator[ModelManager]:
    registry = ModelRegistry(Settings(_env_file=None, data=folder))
    opener = ModelOpener(registry, LogSettings(level="warning"))
    manager = ModelManager(registry, opener, memory_budget_bytes=budget_bytes(""))
    try:
        yield manager
    finally:
        await manager.close()


async def main() -> None:
    """Print what people see without swaps and with them."""
    configure_logs(LogSettings(level="warning"))
    swaps = 5 if "--short" in sys.argv else 20
    print(f"{PEOPLE} people ask all the time; seconds until the first text and the last")
    print(f"{'':16}{'turns':>8}{'first p50':>10}{'max':>10}{'last p50':>10}{'max':>10}{'failed':>8}")
    with tempfile.TemporaryDirectory() as folder:
        async with _managed(Path(folder)) as manager:
            await manager.load(BUNDLED_MODEL)
            people = People(manager)
            talking = [asyncio.create_task(people.talk()) for _ in range(PEOPLE)]
            await asyncio.sleep(10)
            print(people.row("no swap"))
            took_s = [await _swap(manager, number, pause_s=PAUSE_S) for number in range(swaps)]
            print(people.row(f"{swaps} swaps"))
            took_s += [await _swap(manager, number) for number in range(swaps)]
            people.is_over = True
            await asyncio.gather(*talking)
            print(people.row(f"{swaps} at once"))
    print(f"a swap takes {statistics.median(took_s):.2f} s, at most {max(took_s):.2f} s")
    if people.failed:
        sys.exit("turns failed")


async def _swap(manager: ModelManager, number: int, *, pause_s: float = 0.0) -> float:
    await asyncio.sleep(pause_s)
    began = time.monotonic()
    await manager.swap(BUNDLED_MODEL, GgufSettings(context_length=1024 + 256 * (number % 2)))
    return time.monotonic() - began


if __name__ == "__main__":
    asyncio.run(main())
