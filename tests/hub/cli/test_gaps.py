"""`hubbub gaps`: on a screen, for machines and for a spreadsheet."""

import asyncio
import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from hub.cli.gaps import show_gaps
from hub.database import async_engine, database_url, upgrade
from hub.errors import HubError, KnowledgeError
from hub.settings import Settings
from knowledge.gaps.store import GapStore, Unanswered


@pytest.fixture
def settings(data: Path) -> Settings:
    """Settings over a database with three questions, two of them alike."""
    settings = Settings(data=data)
    url = database_url(settings)
    upgrade(url)

    async def fill() -> None:
        engine = async_engine(url)
        store = GapStore(engine, settings.gaps)
        vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
        texts = ("Where is [bold]it?", "Where may it be?", '=HYPERLINK("https://evil.example")')
        for number, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
            asked = Unanswered(turn=str(number), conversation="c", connector="web", text=text)
            await store.note(asked, vector, "m")
        await engine.dispose()

    asyncio.run(fill())
    return settings


def test_gaps_are_shown_in_three_ways(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """The same gaps; what begins like a formula is text in a spreadsheet, and a bracket is a bracket on a screen."""
    show_gaps(settings, form="json", most=10, look_up=False)
    documents = json.loads(capsys.readouterr().out)
    show_gaps(settings, form="csv", most=10, look_up=False)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    show_gaps(settings, form="table", most=10, look_up=False)
    screen = capsys.readouterr().out

    assert [(each["question"], each["count"]) for each in documents] == [
        ("Where is [bold]it?", 2),
        ('=HYPERLINK("https://evil.example")', 1),
    ]
    assert documents[0]["examples"] == ["Where may it be?"]
    assert documents[0]["looked_up"] is False
    assert [row["question"] for row in rows] == ["Where is [bold]it?", '\'=HYPERLINK("https://evil.example")']
    assert "Where is [bold]it?" in screen


def test_what_a_stranger_asks_gives_the_terminal_no_orders(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No markup, in whatever way it is escaped, and nothing a terminal would obey."""
    settings = Settings(data=data)
    upgrade(database_url(settings))

    async def fill() -> None:
        engine = async_engine(database_url(settings))
        asked = Unanswered(turn="1", conversation="c", connector="web", text="Is \\[/b] it\x1b]0;mine\x07?")
        await GapStore(engine, settings.gaps).note(asked, np.array([1, 0], np.float32), "m")
        await engine.dispose()

    asyncio.run(fill())

    show_gaps(settings, form="table", most=10, look_up=False)

    screen = capsys.readouterr().out
    assert "Is \\[/b] it" in screen
    assert "\x1b" not in screen


def test_a_gap_is_dismissed_by_its_id(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is not there is an error."""
    show_gaps(settings, form="json", most=10, look_up=False)
    first = json.loads(capsys.readouterr().out)[0]

    show_gaps(settings, form="json", most=10, look_up=False, dismiss=first["id"])

    assert [each["count"] for each in json.loads(capsys.readouterr().out)] == [1]
    with pytest.raises(HubError, match="no gap"):
        show_gaps(settings, form="json", most=10, look_up=False, dismiss=first["id"])


def test_nothing_is_looked_up_unless_the_settings_say_where(settings: Settings) -> None:
    """The command says what is missing."""
    with pytest.raises(KnowledgeError, match=r"gaps\.retrieval_url"):
        show_gaps(settings, form="json", most=10, look_up=True)


def test_an_empty_list_says_so(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In words on a screen, as an empty list for machines."""
    show_gaps(Settings(data=data), form="table", most=10, look_up=False)
    show_gaps(Settings(data=data), form="json", most=10, look_up=False)

    text, written = capsys.readouterr().out.splitlines()
    assert "no questions" in text
    assert written == "[]"
