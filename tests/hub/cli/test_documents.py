"""Documents from the terminal: taken in from every source, filed for an audience, looked at as somebody."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from hub.app.audiences import read_audience
from hub.cli import documents
from hub.cli.commands import app
from hub.errors import KnowledgeError
from hub.messages import Address
from hub.people import identity_of
from knowledge.report import IngestReport, Progress
from tests.knowledge.repositories import repository
from tests.knowledge.test_mbox_source import box, mail
from tests.settings_tree import bare_environment


@pytest.fixture
def hubbub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> "Terminal":
    """A terminal in an empty folder."""
    bare_environment(monkeypatch, tmp_path)
    monkeypatch.setenv("HUBBUB_KNOWLEDGE__BUNDLED_DOCS", "false")
    return Terminal(tmp_path)


class Terminal:
    """Runs commands on a data folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *words: str, code: int = 0) -> Result:
        """Run a command, and see how it ends."""
        result = CliRunner().invoke(app, [*words, "--data", str(self.folder / "data")])
        assert result.exit_code == code, result.output + repr(result.exception)
        return result

    def json(self, *words: str, code: int = 0) -> object:
        """Run a command that answers machines."""
        return json.loads(self.run(*words, "--json", code=code).stdout.splitlines()[-1])


def found(hubbub: Terminal, *words: str) -> list[str]:
    """Search, and give the documents."""
    rows = hubbub.json("search", "When does the ferry leave?", *words)
    assert isinstance(rows, list)
    return sorted(row["source"] for row in rows)


def test_every_source_can_be_named(hubbub: Terminal, tmp_path: Path) -> None:
    """A file, a page, a list, a mailbox and a repository in one command; what failed is told by the exit code."""
    (tmp_path / "note.md").write_text("The ferry leaves at noon.")
    (tmp_path / "pages.txt").write_text("http://127.0.0.1:1/list\n")
    box(tmp_path / "box", mail("Ferry", "It leaves at one.", number="1"))
    repository(tmp_path / "project", {"README": "The ferry is open source."})

    report = hubbub.json(
        "ingest",
        "note.md",
        "http://127.0.0.1:1/page",
        "--urls",
        "pages.txt",
        "--mbox",
        "box",
        "--git",
        "project",
        code=1,
    )

    assert isinstance(report, dict)
    assert report["added"] == ["note.md", "1@example.org", "README"]
    assert sorted(report["failed"]) == ["http://127.0.0.1:1/list", "http://127.0.0.1:1/page"]
    assert all("not on the public internet" in reason for reason in report["failed"].values())
    assert found(hubbub) == ["1@example.org", "README", "note.md"]


def test_code_in_a_folder_is_taken_in_where_it_is_asked_for(hubbub: Terminal, tmp_path: Path) -> None:
    """By an option; otherwise the report tells how much was left out, and how to have it."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "ferry.py").write_text("def leave():\n    return 'at noon'\n")

    report = hubbub.json("ingest", "--code", "project")

    assert isinstance(report, dict)
    assert (report["added"], report["code_left_out"]) == (["ferry.py"], 0)


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (0, ""),
        (1, "1 file of source code was left out: --code takes it in.\n"),
        (2, "2 files of source code were left out: --code takes them in.\n"),
    ],
)
def test_code_that_was_left_out_is_told(number: int, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that seems to be read whole and is not."""
    documents._print_report(IngestReport(code_left_out=number))

    assert capsys.readouterr().out.partition("written.\n")[2] == told


def test_collections_are_for_whom_the_operator_says(hubbub: Terminal, tmp_path: Path) -> None:
    """They are filed, looked at as somebody, opened up and removed."""
    (tmp_path / "staff.md").write_text("The ferry leaves at dawn.")
    (tmp_path / "all.md").write_text("The ferry leaves at noon, every day of the week.")
    hubbub.run("ingest", "all.md")
    assert isinstance(
        hubbub.run("ingest", "staff.md", "--collection", "staff", code=1).exception, KnowledgeError
    )
    hubbub.run("ingest", "staff.md", "--collection", "staff", "--audience", "operator")

    assert found(hubbub) == ["all.md", "staff.md"]
    assert found(hubbub, "--audience", "public") == ["all.md"]
    assert "staff.md" in hubbub.run("collections", "show", "staff").stdout
    hubbub.run("collections", "audience", "staff", "site:shop")
    listed = hubbub.json("collections", "list")
    assert isinstance(listed, list)
    assert {one["name"]: one["audience"] for one in listed} == {
        "bundled": "public",
        "documents": "public",
        "staff": "site:shop",
    }
    assert found(hubbub) == ["all.md"]
    assert found(hubbub, "--audience", "site:shop") == ["all.md", "staff.md"]
    hubbub.run("collections", "remove", "staff", "--yes")
    assert found(hubbub, "--audience", "site:shop") == ["all.md"]


def test_the_names_of_files_are_shown_as_they_are(hubbub: Terminal, tmp_path: Path) -> None:
    """Whoever names a file neither ends a command by a bracket nor gives the terminal an order."""
    (tmp_path / "docs" / "a[").mkdir(parents=True)
    (tmp_path / "docs" / "\x1b[2J[").mkdir()
    for name in ("a[/b].md", "\x1b]0;mine\x07.md", "two\nlines.md"):
        (tmp_path / "docs" / name).write_text("The ferry leaves at noon.")
    (tmp_path / "docs" / "\x1b[2J[/bad].md").touch()

    said = hubbub.run("ingest", "docs", code=1)
    listed = hubbub.run("collections", "show", "documents")
    searched = hubbub.run("search", "-k", "9", "When does the ferry leave?")

    assert "3 added" in said.output
    assert "?[2J[/bad].md: " in said.output
    assert listed.output.count("\n") == 3
    assert "a[/b].md" in searched.output
    shown = said.output + listed.output + searched.output
    assert "\x1b]" not in shown
    assert "\x07" not in shown


def test_progress_is_shown_whatever_a_file_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a real terminal, where the bar is drawn."""
    screen = io.StringIO()
    monkeypatch.setattr(documents, "Console", lambda **_: Console(file=screen, force_terminal=True))

    with documents._bar(hidden=False) as show:
        show(Progress(location="a[/b]\x1b]0;mine\x07.md", outcome="added", done=1, total=2))

    assert "a[/b]?]0;mine?.md" in screen.getvalue()


@pytest.mark.parametrize("words", [[], ["missing.md"], ["--urls", "missing.txt"]])
def test_what_cannot_be_taken_in_is_told(hubbub: Terminal, words: list[str]) -> None:
    """Before anything is opened."""
    hubbub.run("ingest", *words, code=2)

    assert not (hubbub.folder / "data").exists()


def test_a_person_is_named_as_their_channel_knows_them() -> None:
    """The words of the terminal and of a message mean the same person."""
    address = Address(connector="telegram", account="12", chat="c", person="7", is_verified=True)

    assert read_audience("person:telegram/12/7") == f"person:{identity_of(address)}"
    assert read_audience(f"person:{identity_of(address)}") == f"person:{identity_of(address)}"
    with pytest.raises(KnowledgeError):
        read_audience("person:")
