"""`eval` and `warm` from the terminal."""

import asyncio
import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from engine.searching import SearchService
from hub.bus.bus import Bus
from hub.bus.cache import AnswerCache
from hub.bus.calls import serve
from hub.bus.connection import connect_reader
from hub.cli.evaluation import evaluate_retrieval
from hub.cli.warm import warm_cache
from hub.errors import KnowledgeError, SettingsError
from hub.settings import BusSettings, KnowledgeSettings, Settings
from knowledge.ingest import ingest
from tests.engine.test_searching import CountingBase
from tests.knowledge.files import write_library
from tests.servers.redis import RedisServer


@pytest.fixture
def settings(data: Path, tmp_path: Path) -> Settings:
    """Give settings over a small library."""
    folder = tmp_path / "docs"
    folder.mkdir()
    write_library(folder)
    made = Settings(data=data, knowledge=KnowledgeSettings(bundled_docs=False))
    ingest(made, [folder])
    return made


def test_evaluation_is_told_as_json_and_as_a_page(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The numbers of both are those of the questions."""
    file, page = tmp_path / "questions.jsonl", tmp_path / "report.html"
    file.write_text(
        '{"question": "How should I water my tomato plants?", "relevant": ["tomatoes.md#Watering"]}\n'
        '{"question": "When does the train to Vienna go?", "relevant": ["trains.txt"]}\n'
        '{"question": "Who painted the ceiling?", "relevant": ["art.md"]}\n'
    )

    evaluate_retrieval(settings, file, page=page, as_json=True)
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    evaluate_retrieval(settings, file, page=None, as_json=False)
    printed = capsys.readouterr().out

    assert told["recall"]["1"] == pytest.approx(2 / 3)
    assert told["mrr"] == pytest.approx(2 / 3)
    assert [report["rank"] for report in told["questions"]] == [1, 1, 0]
    assert told["chunks"] == 5
    assert "Who painted the ceiling?" in page.read_text()
    assert "MRR          0.667" in printed
    assert "not found    1: Who painted the ceiling?" in printed


def test_wrong_questions_are_told(settings: Settings, tmp_path: Path) -> None:
    """Before anything is opened."""
    (tmp_path / "q.jsonl").write_text("{}")

    with pytest.raises(KnowledgeError, match="line 1"):
        evaluate_retrieval(settings, tmp_path / "q.jsonl", page=None, as_json=True)


def test_page_that_cannot_be_written_is_told(settings: Settings, tmp_path: Path) -> None:
    """The error names it."""
    (tmp_path / "q.jsonl").write_text('{"question": "Vienna?", "relevant": ["trains.txt"]}')

    with pytest.raises(KnowledgeError, match="nowhere"):
        evaluate_retrieval(
            settings, tmp_path / "q.jsonl", page=tmp_path / "nowhere" / "page.html", as_json=True
        )


async def test_running_hub_is_warmed(
    redis_server: RedisServer, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its engine searches for each query once."""
    settings = Settings(data=data, bus=BusSettings(redis_url=SecretStr(redis_server.url)))
    file = tmp_path / "often.txt"
    file.write_text("tea\nmilk\ntea\n")
    bus, base, stop = Bus(redis_server.url, settings.bus), CountingBase(), asyncio.Event()
    await bus.redis.flushall()
    service = SearchService(base, AnswerCache(bus.redis, ttl_s=60, kind="search"))
    serving = asyncio.create_task(serve(bus.redis, connect_reader(bus.url), {"search": service.answer}, stop))

    await asyncio.to_thread(warm_cache, settings, file, as_json=True)
    await asyncio.to_thread(warm_cache, settings, file, as_json=False)
    stop.set()
    await serving
    await bus.close()

    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(first) == {"queries": 2, "fresh": 2}
    assert second == "2 searches are in the cache; 0 of them were not before."
    assert sorted(base.asked) == [("milk", 5), ("tea", 5)]


def test_without_a_hub_nothing_is_warmed(data: Path, tmp_path: Path) -> None:
    """The error says how to start one."""
    (tmp_path / "often.txt").write_text("tea")

    with pytest.raises(SettingsError, match="hubbub up"):
        warm_cache(Settings(data=data), tmp_path / "often.txt", as_json=False)
