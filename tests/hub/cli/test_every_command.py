"""What holds for every command: help at once, an error that helps, and JSON alone where JSON is asked for."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from hub.cli.commands import app

HEAVY = {
    "torch",
    "sqlalchemy",
    "aiohttp",
    "redis",
    "faiss",
    "llama_cpp",
    "onnxruntime",
    "aiogram",
    "transformers",
}
TALKING = {"up", "run"}
"""Run until they are ended: nothing for a machine to read."""


def _commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give every command that does something, with the words that call it."""
    if not hasattr(group, "commands"):
        yield words, group
        return
    for name, command in group.commands.items():
        yield from _commands(command, (*words, name))


COMMANDS = dict(_commands(typer.main.get_command(app)))
EVERY = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)


def _run(lines: list[list[str]], folder: Path) -> dict[str, Any]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("command_lines.py"))],
        input=json.dumps(lines),
        env=clean | {"PYTHONPATH": str(root), "COLUMNS": "200", "HUBBUB_DATA": str(folder / "data")},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _options(command: Any) -> set[str]:
    return {name for one in command.params for name in one.opts}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every command asked for its help, then with a misspelt option; and what was imported for all of it."""
    helps = [[*words, "--help"] for words in COMMANDS]
    wrong = [[*words, "--dat"] for words in COMMANDS]
    return _run(helps + wrong, tmp_path_factory.mktemp("help"))


def test_help_needs_no_library_that_takes_long(asked: dict[str, Any]) -> None:
    """It is there at once, because nothing of the hub is loaded for it."""
    assert HEAVY & set(asked["modules"]) == set()


@EVERY
def test_help_tells_what_a_command_does(words: tuple[str, ...], asked: dict[str, Any]) -> None:
    """On standard output, with every option and a text for each."""
    shown = asked["results"][list(COMMANDS).index(words)]

    assert (shown["code"], shown["err"]) == (0, "")
    first = (COMMANDS[words].help or "").split(".")[0].split(":")[0]
    assert first
    assert first[:40] in shown["out"]
    for option in COMMANDS[words].params:
        is_argument = option.param_type_name == "argument"
        assert is_argument or option.hidden or option.name == "help" or option.help, option.name


@EVERY
def test_a_misspelt_option_is_answered_with_the_right_one(
    words: tuple[str, ...], asked: dict[str, Any]
) -> None:
    """Exit code 2, on standard error."""
    shown = asked["results"][len(COMMANDS) + list(COMMANDS).index(words)]

    assert (shown["code"], shown["out"]) == (2, "")
    assert "No such option: --dat" in shown["err"]
    assert "--data" in shown["err"]


@EVERY
def test_every_command_takes_a_folder_and_speaks_json(words: tuple[str, ...]) -> None:
    """As all the others do."""
    options = _options(COMMANDS[words])

    assert "--data" in options
    assert ("--json" in options) != (words[0] in TALKING)


def test_a_misspelt_command_is_answered_with_the_right_one(tmp_path: Path) -> None:
    """In the whole and in a group."""
    whole, group = _run([["doctr"], ["keys", "lst"]], tmp_path)["results"]

    assert "Did you mean 'doctor'?" in whole["err"]
    assert "Did you mean 'list'?" in group["err"]
    assert (whole["code"], group["code"]) == (2, 2)


ALONE = [
    ["keys", "create", "--tier", "own"],
    ["keys", "list"],
    ["ingest", "notes.md"],
    ["search", "Where is the lamp?"],
    ["eval", "questions.jsonl"],
    ["index", "info"],
    ["index", "build"],
    ["collections", "list"],
    ["collections", "audience", "documents", "operator"],
    ["collections", "remove", "documents", "--yes"],
    ["index", "reset", "--yes"],
    ["gaps"],
    ["models", "list"],
    ["models", "verify"],
    ["backup", "b.tar.gz"],
    ["backup", "b.tar.gz", "--verify"],
    ["restore", "b.tar.gz", "--force"],
]
"""Work without a running hub, in this order."""
WITH_HUB = [
    ["ask", "What is it?"],
    ["warm", "queries.txt"],
    ["cancel", "web-hub-1"],
    ["erase", "telegram/1/2", "--yes"],
    ["export", "all.zip"],
    ["replay", "1-0"],
    ["shadow", "--model", "smollm2-135m"],
    ["archive", "rebuild"],
    ["models", "load", "smollm2-135m"],
    ["models", "unload", "smollm2-135m"],
]
"""Need one."""


def test_json_is_all_that_stands_on_standard_output(tmp_path: Path) -> None:
    """Of commands that work alone: it can be read, and the exit code is 0. Without a hub, the others say how to start one."""
    (tmp_path / "notes.md").write_text("# Lamp\n\nThe lamp stands in the hall.\n")
    (tmp_path / "questions.jsonl").write_text(
        '{"question": "Where is the lamp?", "relevant": ["notes.md#Lamp"]}\n'
    )
    (tmp_path / "queries.txt").write_text("lamp\n")

    results = _run([[*words, "--json"] for words in ALONE + WITH_HUB], tmp_path)["results"]

    for words, shown in zip(ALONE, results, strict=False):
        assert shown["code"] == 0, (words, shown)
        json.loads(shown["out"])
        assert "Traceback" not in shown["err"]
    for words, shown in zip(WITH_HUB, results[len(ALONE) :], strict=True):
        assert (shown["code"], shown["out"]) == (2, ""), (words, shown)
        assert "no hub is running" in shown["err"], words
        assert "`hubbub up`" in shown["err"]


def test_what_cannot_be_used_is_told_without_a_traceback(tmp_path: Path) -> None:
    """A folder that cannot be made, a file that is not there: one line, and which one."""
    (tmp_path / "file").touch()
    lines = [
        ["keys", "list", "--data", str(tmp_path / "file" / "x")],
        ["ingest", "missing.md"],
        ["backup", "no/such/folder/b.tar.gz"],
        ["restore", "missing.tar.gz"],
        ["backup", "file", "--verify"],
    ]

    for words, shown in zip(lines, _run(lines, tmp_path)["results"], strict=True):
        assert shown["code"] in (1, 2), (words, shown)
        assert shown["out"] == ""
        assert "Traceback" not in shown["err"]
        assert any(word.strip("/") in shown["err"] for word in words[1:]), (words, shown)
