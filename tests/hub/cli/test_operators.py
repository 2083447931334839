"""Operators and the audit log from the terminal: every command that changes something writes an entry."""

import asyncio
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup

from hub.audit import AuditLog, Entry, Filter
from hub.cli.collections import change_audience, remove_collection
from hub.cli.commands import app
from hub.cli.database import audited, opened_database
from hub.cli.keys import create_key, revoke_key
from hub.cli.operators import (
    add_operator,
    list_operators,
    remove_operator,
    rotate_keys,
    set_disabled,
    set_password,
    set_role,
)
from hub.errors import HubError
from hub.operators.desk import Operators
from hub.settings import Settings
from tests.hub.operators.desk import CHEAP, HERE, OTHER_PASSWORD, PASSWORD
from tests.settings_tree import ROOT

READING = """
    up run ask chat search eval warm doctor egress replay shadow keys.list keys.usage operator.list index.info
    collections.list collections.show models.list models.verify dead.list dead.show
"""
CHANGING = {
    "ingest": ["ingest"],
    "cancel": ["cancel"],
    "gaps": ["gaps --dismiss", "gaps --look-up"],
    "erase": ["erase", "erase --resume"],
    "export": ["export"],
    "import": ["import"],
    "backup": ["backup"],
    "restore": ["restore"],
    "keys.create": ["keys create"],
    "keys.rotate": ["keys rotate"],
    "keys.revoke": ["keys revoke"],
    "operator.add": ["operator add"],
    "operator.password": ["operator password"],
    "operator.role": ["operator role"],
    "operator.disable": ["operator disable"],
    "operator.enable": ["operator enable"],
    "operator.remove": ["operator remove"],
    "operator.rotate-keys": ["operator rotate-keys"],
    "index.build": ["index build"],
    "index.reset": ["index reset"],
    "collections.audience": ["collections audience"],
    "collections.remove": ["collections remove"],
    "models.pull": ["models pull"],
    "models.load": ["models load"],
    "models.unload": ["models unload"],
    "archive.rebuild": ["archive rebuild"],
    "dead.replay": ["dead replay"],
    "dead.drop": ["dead drop"],
}
"""All commands, and what the entries of those that change something are called."""


@pytest.fixture
def settings(data: Path) -> Settings:
    """A hub whose passwords cost little."""
    return Settings(data=data, operators=CHEAP)


def pipe(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let a command read a text as its standard input."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def entries(settings: Settings) -> list[Entry]:
    """Read the audit log, oldest first."""

    async def main() -> list[Entry]:
        async with opened_database(settings) as engine:
            return list(await AuditLog(engine).entries(Filter(), limit=200))[::-1]

    return asyncio.run(main())


def can_sign_in(settings: Settings, name: str, password: str) -> bool:
    """Tell whether an operator gets in."""

    async def main() -> bool:
        async with opened_database(settings) as engine:
            operators = Operators.on(engine, settings.operators)
            try:
                return await operators.sessions.sign_in(name, password, HERE) is not None
            finally:
                operators.close()

    return asyncio.run(main())


def test_every_command_is_known_for_what_it_does() -> None:
    """A new one does not pass until somebody has said whether it changes anything; those that do name their entries."""

    def leaves(group: Any, path: str = "") -> list[str]:
        assert isinstance(group, TyperGroup)
        found: list[str] = []
        for name, command in group.commands.items():
            found += leaves(command, f"{path}{name}.") if isinstance(command, TyperGroup) else [path + name]
        return found

    sources = "\n".join(file.read_text("utf-8") for file in (ROOT / "hub" / "cli").glob("*.py"))
    named = set(re.findall(r'audited\(\s*settings, f?"([^"]+)"', sources))
    named |= set(re.findall(r'command=f?"([^"]+)"', sources)) | set(
        re.findall(r'else "(gaps [^"]+)"\)', sources)
    )
    made = {"operator {word}": ("disable", "enable"), "models {action}": ("load", "unload")}
    written = {f"{name.split()[0]} {word}" for name, words in made.items() if name in named for word in words}

    assert sorted(leaves(typer.main.get_command(app))) == sorted([*READING.split(), *CHANGING])
    assert (named - set(made)) | written == {name for names in CHANGING.values() for name in names}


def test_operators_are_made_changed_and_removed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The password comes by standard input; the first operator is an admin; each change is one entry."""
    pipe(monkeypatch, f"{PASSWORD}\n")
    add_operator(settings, "ana", "")
    pipe(monkeypatch, f"{PASSWORD}\r\nmore")
    add_operator(settings, "ben", "")
    assert can_sign_in(settings, "ben", PASSWORD)
    pipe(monkeypatch, OTHER_PASSWORD)
    set_password(settings, "ben")
    assert not can_sign_in(settings, "ben", PASSWORD)
    set_role(settings, "ben", "operator")
    set_role(settings, "ben", "operator")
    set_disabled(settings, "ben", disabled=True)
    assert not can_sign_in(settings, "ben", OTHER_PASSWORD)
    set_disabled(settings, "ben", disabled=False)
    assert can_sign_in(settings, "ben", OTHER_PASSWORD)
    capsys.readouterr()
    list_operators(settings, as_json=True)
    listed = json.loads(capsys.readouterr().out)
    list_operators(settings, as_json=False)
    table = capsys.readouterr().out
    remove_operator(settings, "ben")
    rotate_keys(settings, drop=True)

    assert [(one["name"], one["role"]) for one in listed] == [("ana", "admin"), ("ben", "operator")]
    assert "ana" in table
    ids = [one["id"] for one in listed]
    shown = [(one.action, one.change, one.target, one.outcome) for one in entries(settings)]
    assert shown[:-1] == [
        ("hubbub operator add", "operator_added", ids[0], "done"),
        ("hubbub operator add", "operator_added", ids[1], "done"),
        ("hubbub operator password", "password_changed", ids[1], "done"),
        ("hubbub operator role", "role_changed", ids[1], "done"),
        ("hubbub operator role", "", "", "unchanged"),
        ("hubbub operator disable", "operator_disabled", ids[1], "done"),
        ("hubbub operator enable", "operator_enabled", ids[1], "done"),
        ("hubbub operator remove", "operator_removed", ids[1], "done"),
    ]
    assert shown[-1][:2] == ("hubbub operator rotate-keys", "signing_key_made")
    assert {(one.actor_kind, one.actor) for one in entries(settings)} == {("command", str(os.getuid()))}
    for secret in (PASSWORD, OTHER_PASSWORD):
        assert secret not in str(listed) + table + str(entries(settings))


def test_what_is_refused_says_why(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is written down with the reason."""
    pipe(monkeypatch, PASSWORD)
    add_operator(settings, "ana", "admin")
    tries: list[tuple[Any, str, str]] = [
        (lambda: add_operator(settings, "ben", "owner"), "", "roles are viewer, operator, admin"),
        (lambda: add_operator(settings, "ben", ""), "short", "at least 12 characters"),
        (lambda: add_operator(settings, "ben", ""), "", "no password was given"),
        (lambda: add_operator(settings, "ana", ""), PASSWORD, "there is an operator of this name"),
        (lambda: add_operator(settings, "Ben", ""), PASSWORD, "a name has"),
        (lambda: set_role(settings, "ana", "viewer"), "", "last admin"),
        (lambda: set_disabled(settings, "ana", disabled=True), "", "last admin"),
        (lambda: remove_operator(settings, "ana"), "", "last admin"),
        (lambda: set_password(settings, "nobody"), PASSWORD, "there is no operator 'nobody'"),
        (lambda: remove_operator(settings, "nobody"), "", "there is no operator 'nobody'"),
    ]

    for work, text, reason in tries:
        pipe(monkeypatch, text)
        with pytest.raises(HubError, match=re.escape(reason)):
            work()

    refused = [(one.action, one.code) for one in entries(settings)[1:]]
    assert refused == [
        ("hubbub operator add", "PasswordRefused"),
        ("hubbub operator add", "NameTaken"),
        ("hubbub operator add", "NameRefused"),
        ("hubbub operator role", "LastAdmin"),
        ("hubbub operator disable", "LastAdmin"),
        ("hubbub operator remove", "LastAdmin"),
        ("hubbub operator remove", "HubError"),
    ]


def test_at_a_terminal_the_password_is_asked_for_twice(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unseen; there is no option for it, which others could read in the list of processes."""
    asked: list[dict[str, Any]] = []

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def prompt(text: str, **options: Any) -> str:
        asked.append(options)
        return PASSWORD

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(typer, "prompt", prompt)
    add_operator(settings, "ana", "")

    [options] = asked
    assert (options["hide_input"], options["confirmation_prompt"]) == (True, True)
    assert can_sign_in(settings, "ana", PASSWORD)
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    commands = group.commands["operator"]
    assert isinstance(commands, TyperGroup)
    for command in commands.commands.values():
        assert not [one for one in command.params if "password" in (one.name or "")]


def test_commands_on_keys_and_documents_write_entries(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """As those on operators do."""
    create_key(settings, tier="own", label="for ana", days=None, as_json=True)
    key = json.loads(capsys.readouterr().out.splitlines()[-1])
    revoke_key(settings, key["id"])
    with pytest.raises(HubError):
        revoke_key(settings, key["id"])
    change_audience(settings, "documents", "operator", as_json=False)
    remove_collection(settings, "documents", as_json=False)

    shown = [(one.action, one.change, one.target, one.outcome) for one in entries(settings)]
    assert shown == [
        ("hubbub keys create", "key_created", key["id"], "done"),
        ("hubbub keys revoke", "key_revoked", key["id"], "done"),
        ("hubbub keys revoke", "", "", "refused"),
        ("hubbub collections audience", "audience_changed", "documents", "done"),
        ("hubbub collections remove", "collection_removed", "documents", "done"),
    ]
    assert key["api_key"] not in str(entries(settings))
    assert "for ana" not in str(entries(settings))


def test_a_command_that_breaks_says_how_far_it_came(settings: Settings) -> None:
    """What it had done counts; what was killed stays begun."""
    with pytest.raises(KeyboardInterrupt), audited(settings, "ingest"):
        raise KeyboardInterrupt

    def fails_in_the_end() -> None:
        with audited(settings, "ingest") as noted:
            noted.done("documents_ingested", "documents", added=1)
            raise typer.Exit(1)

    with pytest.raises(typer.Exit):
        fails_in_the_end()

    first, second = entries(settings)
    assert (first.outcome, first.code, first.change) == ("failed", "KeyboardInterrupt", "")
    assert (second.outcome, second.change, second.numbers) == ("done", "documents_ingested", {"added": 1})
