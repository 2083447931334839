"""Dead letters from the terminal."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from hub.bus.bus import Bus
from hub.cli.commands import app
from hub.settings import BusSettings, Settings
from tests.hub.admin.giving_up import give_up, message, waiting
from tests.servers.redis import RedisServer
from tests.settings_tree import bare_environment

SECRET_WORDS = "my number is in here"


@pytest.fixture
def settings(
    redis_server: RedisServer, data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Settings:
    """Settings of a hub with three dead letters."""
    bare_environment(monkeypatch, tmp_path)
    monkeypatch.setenv("HUBBUB_BUS__REDIS_URL", redis_server.url)
    monkeypatch.setenv("HUBBUB_DATA", str(data))
    monkeypatch.setenv("COLUMNS", "60")
    made = Settings(data=data, bus=BusSettings(redis_url=SecretStr(redis_server.url)))

    async def prepare() -> None:
        bus = Bus(redis_server.url, made.bus)
        await bus.redis.flushall()
        await give_up(bus, message("a", SECRET_WORDS))
        await give_up(bus, message("a", "second"))
        await give_up(bus, message("b", "third", connector="email"), "[red]unreadable\x1b[31m")
        await bus.close()

    asyncio.run(prepare())
    return made


def run(*words: str, code: int = 0) -> str:
    """Run `hubbub dead` and return what it prints."""
    done = CliRunner().invoke(app, ["dead", *words])
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout


def rows(*words: str) -> list[Any]:
    """List dead letters as JSON."""
    found: list[Any] = json.loads(run("list", "--json", *words).splitlines()[-1])["items"]
    return found


async def lane(settings: Settings, name: str) -> list[str]:
    """Return what waits in a conversation."""
    bus = Bus(settings.bus.redis_url.get_secret_value(), settings.bus)
    try:
        return await waiting(bus, name)
    finally:
        await bus.close()


def test_letters_are_listed_and_shown(settings: Settings) -> None:
    """Newest first, by what they are; what was said only where it is asked for, and never as orders to the terminal."""
    found = rows()

    assert [row["conversation"] for row in found] == ["b", "a", "a"]
    assert [row["reason"] for row in rows("--connector", "telegram", "--since", "1h")] == [
        "5 attempts failed"
    ] * 2
    assert rows("--reason", "attempts", "--until", "1h") == []
    table = run("list")
    assert all(row["id"] in table for row in found)
    assert "\x1b[31m" not in table
    shown = run("show", found[2]["id"])
    assert SECRET_WORDS not in shown + table + json.dumps(found)
    assert "5 attempts failed" in shown
    assert SECRET_WORDS in run("show", found[2]["id"], "--text")
    assert SECRET_WORDS in json.loads(run("show", found[2]["id"], "--text", "--json"))["body"]


def test_letters_are_put_back_once(settings: Settings) -> None:
    """Named ones or all of a kind; what cannot be put back ends the command with an error."""
    third, second, first = [row["id"] for row in rows()]

    assert json.loads(run("replay", second, "--json"))["replayed"] == 1
    again = json.loads(run("replay", second, first, "--json", code=1).splitlines()[0])
    assert json.loads(run("replay", "--reason", "unreadable", "--json"))["replayed"] == 1

    assert (again["replayed"], again["refused"]) == (1, [{"id": second, "why": "replayed"}])
    assert asyncio.run(lane(settings, "a")) == ["second", SECRET_WORDS]
    assert asyncio.run(lane(settings, "b")) == ["third"]
    assert rows() == []
    assert third != first


def test_letters_are_dropped(settings: Settings) -> None:
    """When that is confirmed; which ones has to be said."""
    third, *_ = [row["id"] for row in rows()]

    assert run("drop", third, code=1)
    assert len(rows()) == 3
    assert json.loads(run("drop", third, "--yes", "--json")) == {"dropped": 1, "missing": []}
    assert json.loads(run("drop", third, "--yes", "--json", code=1).splitlines()[0])["missing"] == [third]
    for words in ([], ["x", "--all"], ["--all", "--conversation", "a"]):
        run("drop", "--yes", *words, code=2)
        run("replay", *words, code=2)
    assert json.loads(run("drop", "--all", "--yes", "--json"))["dropped"] == 2
