"""`hubbub shadow` on another model: what differs is shown side by side, and nobody notices."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis

from engine.models.llama.model import LlamaChatModel
from engine.turn import Assistant
from hub.settings import PROJECT_ROOT
from tests.engine.bench import Bench
from tests.engine.test_receipts import Hub, picture
from tests.servers.redis import RedisServer

ASKED = ("My name is Omdeep.", "What is my name?", "How much is an espresso?")
SETTINGS = """
[bus]
redis_url = "{url}"

[models.plain]
type = "gguf"
profile = "general"

[models.gone]
type = "gguf"
path = "/nowhere/model.gguf"
"""
"""`plain` is the bundled file, spoken to in another way: another prompt, and other answers."""


async def _run(folder: Path, *words: str) -> tuple[int, str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hub", *words),
        env={**clean, "PYTHONPATH": str(PROJECT_ROOT), "COLUMNS": "160", "HUBBUB_DATA": str(folder / "data")},
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@pytest.mark.timeout(180)
async def test_the_answers_of_another_model_stand_beside_those_that_were_given(
    bench: Bench,
    assistant: Assistant,
    llama: LlamaChatModel,
    redis: Redis,
    redis_server: RedisServer,
    tmp_path: Path,
) -> None:
    """For people and for programs; of a model that is not there the reason. Redis holds what it held."""
    (tmp_path / "data").mkdir()
    (tmp_path / "settings.toml").write_text(SETTINGS.format(url=redis_server.url))
    hub = Hub(bench, assistant, llama)
    given = [asked.answer for text in ASKED for asked in (await hub.ask(text)).asked]
    before = await picture(redis)

    code, out, err = await _run(tmp_path, "shadow", "--model", "plain", "--last", "50", "--json")
    shadowed = [json.loads(line) for line in out.splitlines()]
    table_code, table, _ = await _run(tmp_path, "shadow", "--model", "plain", "--last", "50")
    gone_code, gone, _ = await _run(tmp_path, "shadow", "--model", "gone", "--last", "1")

    assert (code, table_code, gone_code) == (0, 0, 0), err
    assert [one["then"] for one in shadowed] == given
    assert all(one["now"] and not one["error"] for one in shadowed)
    different = [one for one in shadowed if not one["is_same"]]
    assert [one["now"] == one["then"] for one in shadowed] == [one["is_same"] for one in shadowed]
    assert different
    same = len(shadowed) - len(different)
    assert f"{len(shadowed)} answers: {same} the same, {len(different)} different, 0 failed." in table
    cells = " ".join(table.replace("│", " ").split())
    for one in different:
        assert one["question"] in cells
        assert one["then"].split()[0] in cells
        assert one["now"].split()[0] in cells
    assert "failed: " in gone
    assert "1 answers: 0 the same, 0 different, 1 failed." in gone
    after = await picture(redis)
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    # That a process has connected to Redis is noted of every one.
    assert {key.decode().rpartition("}:")[2].partition(":")[0] for key in changed} == {"egress"}
