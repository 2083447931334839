"""The commands about a person: erase, export, import, as an operator types them."""

import asyncio
import json
import os
import random
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.bus.history import History
from tests.hub.erasure.conftest import own_redis, redis_folder
from tests.hub.erasure.world import ANA, BEN, BOT, World
from tests.servers.redis import RedisServer

__all__ = ["own_redis", "redis_folder"]
SEED = int(os.environ.get("FAULT_SEED") or secrets.randbits(32))
WHO = f"telegram/{BOT}/{ANA.number}"


class Operator:
    """Types commands against one hub."""

    def __init__(self, world: World) -> None:
        self.world = world
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
        self._environment = {
            **clean,
            "HUBBUB_DATA": str(world.settings.data),
            "HUBBUB_BUS__REDIS_URL": world.bus.url,
        }

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        """Start a command."""
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hub", *words), env=self._environment, stdout=pipe, stderr=pipe
        )

    async def types(self, *words: str, code: int = 0) -> str:
        """Run a command to its end; returns what it prints."""
        process = await self.start(*words)
        out, error = await process.communicate()
        assert process.returncode == code, (out + error).decode()
        return (out if code == 0 else error).decode()


@pytest.fixture
async def operator(own_redis: RedisServer, data: Path) -> AsyncIterator[Operator]:
    """An operator of an empty hub."""
    world = World(own_redis, data)
    yield Operator(world)
    await world.close()


async def test_a_person_is_erased_by_a_command_and_the_receipt_can_be_checked(
    operator: Operator, tmp_path: Path
) -> None:
    """The receipt is this hub's; a changed one is not. A word is found before and not afterwards."""
    await operator.world.live_through(ANA)
    receipt = tmp_path / "receipt.json"
    found = await operator.types("erase", "--look-for", ANA.word, code=1)

    receipt.write_text(
        await operator.types("erase", WHO, f"email/help@example.org/{ANA.mail}", "--yes", "--json")
    )

    assert "found in" in found
    assert "Nothing found." in await operator.types("erase", "--look-for", ANA.word)
    assert "was made by this hub" in await operator.types("erase", "--verify", str(receipt))
    verified = json.loads(await operator.types("erase", "--verify", str(receipt), "--json"))
    assert (verified["id"], verified["valid"]) == (json.loads(receipt.read_text())["id"], True)
    receipt.write_text(receipt.read_text().replace('"memory":', '"memory2":'))
    assert "changed" in await operator.types("erase", "--verify", str(receipt), code=1)
    assert "expected CONNECTOR/ACCOUNT/PERSON" in await operator.types("erase", "ana", "--yes", code=1)


async def test_a_command_that_is_killed_is_finished_by_the_next(operator: Operator) -> None:
    """SIGKILL at any moment, and the job stays."""
    sys.stderr.write(f"\nerase command: repeat with FAULT_SEED={SEED}\n")
    world, dice = operator.world, random.Random(SEED)
    await world.live_through(ANA)
    killed = 0
    for _ in range(3):
        process = await operator.start("erase", WHO, "--yes", "--json")
        await _begun(world)
        await asyncio.sleep(dice.uniform(0, 0.6))
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        await process.communicate()

    receipts = (await operator.types("erase", "--resume", "--json")).splitlines()

    assert killed
    assert all(sum(json.loads(receipt)["left"].values()) == 0 for receipt in receipts)
    private = f"telegram-{BOT}-{ANA.number}"
    assert await History(world.redis).turns(private) == []
    assert await world.files_hold(words=[private, f":{ANA.number}"]) == []


async def _begun(world: World) -> None:
    async with asyncio.timeout(30):
        before = await world.client.zcard("hubbub:{0}:state:erasure:jobs")
        while await world.client.zcard("hubbub:{0}:state:erasure:jobs") == before:
            await asyncio.sleep(0.005)


async def test_what_is_exported_can_be_imported(operator: Operator, tmp_path: Path) -> None:
    """Everything with its keys, one person, and the log of an earlier system."""
    world, everything, one = operator.world, tmp_path / "all.zip", tmp_path / "ana.zip"
    await world.live_through(ANA)
    await world.live_through(BEN)
    key = json.loads(await operator.types("keys", "create", "--tier", "own", "--json"))["api_key"]
    log = tmp_path / "log.jsonl"
    log.write_text('{"timestamp": "2024-01-01T00:00:00", "prompt": "Hi", "response": "Hello"}\n')

    written = json.loads(await operator.types("export", str(everything), "--json"))
    await operator.types("export", str(one), "--person", WHO)
    await world.client.flushall()
    (world.settings.data / "hubbub.db").unlink()
    taken = json.loads(await operator.types("import", str(everything), "--json"))
    logged = json.loads(await operator.types("import", str(log), "--conversation", "web-old", "--json"))

    assert written["rows"]["conversations"] == taken["taken"]["turns"] > 4
    assert taken["taken"]["keys"] == 1
    assert taken["refused"] == 0
    assert key.split("_")[2] in await operator.types("keys", "list", "--json")
    assert logged["taken"] == {"turns": 1}
    assert [turn.answer for turn in await History(world.redis).turns("web-old")] == ["Hello"]
    assert BEN.word.encode() not in one.read_bytes()
    (tmp_path / "odd.txt").write_text("what is this")
    assert "--kind" in await operator.types("import", str(tmp_path / "odd.txt"), code=1)
