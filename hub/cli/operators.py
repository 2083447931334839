"""`operator`: operators from the terminal; works on the database, so a running hub knows them at once."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import typer
from rich.console import Console
from rich.table import Column, Table

from hub.cli.database import audited, opened_database
from hub.cli.printing import print_json
from hub.errors import HubError
from hub.operators.passwords import MAX_CHARS, Passwords
from hub.operators.roles import ROLES, Role
from hub.operators.sessions import Sessions
from hub.operators.store import Change, Operator, OperatorStore
from hub.settings import Settings


@dataclass(frozen=True, slots=True)
class _Desk:
    store: OperatorStore
    sessions: Sessions
    passwords: Passwords


@asynccontextmanager
async def _desk(settings: Settings) -> AsyncIterator[_Desk]:
    passwords = Passwords(settings.operators)
    async with opened_database(settings) as engine:
        try:
            sessions = Sessions(engine, passwords, settings.operators)
            yield _Desk(OperatorStore(engine, passwords), sessions, passwords)
        finally:
            passwords.close()


def add_operator(settings: Settings, name: str, role: str, *, as_json: bool = False) -> None:
    """Ask for a password and make an operator.

    Raises: HubError: there is no such role, or name or password are refused.
    """
    wanted = _role(role) if role else None
    password = _ask_password()

    async def main() -> Operator:
        async with _desk(settings) as desk:
            return await desk.store.add(name, wanted, password)

    with audited(settings, "operator add") as noted:
        made = asyncio.run(main())
        noted.done("operator_added", made.id)
    _tell(
        f"{made.name} can sign in as {made.role}.",
        {"id": made.id, "name": made.name, "role": made.role},
        as_json=as_json,
    )


def list_operators(settings: Settings, *, as_json: bool) -> None:
    """Print all operators."""

    async def main() -> Sequence[Operator]:
        async with _desk(settings) as desk:
            return await desk.store.all()

    found = asyncio.run(main())
    if as_json:
        print_json(found)
        return
    if not found:
        typer.echo("There are no operators; `hubbub operator add NAME` makes the first one, who is an admin.")
        return
    table = Table(
        Column("name", no_wrap=True), "role", "added", "signed in", "state", Column("id", no_wrap=True)
    )
    for one in found:
        times = [f"{at:%Y-%m-%d %H:%M}" if at else "-" for at in (one.created_at, one.last_signed_in_at)]
        table.add_row(one.name, one.role, *times, "disabled" if one.disabled_at else "", one.id)
    Console().print(table)


def set_password(settings: Settings, name: str, *, as_json: bool = False) -> None:
    """Ask for a new password; the operator's sessions end.

    Raises: HubError: there is no such operator, or the password is refused.
    """
    _find(settings, name)
    change = Change(password=_ask_password())
    _change(settings, name, change, command="operator password", done="password_changed")
    _tell(f"{name} has a new password, and has to sign in again.", {"name": name}, as_json=as_json)


def set_role(settings: Settings, name: str, role: str, *, as_json: bool = False) -> None:
    """Give an operator another role; their sessions end.

    Raises: HubError: there is no such operator or role, or it is the last admin.
    """
    change = Change(role=_role(role))
    _change(settings, name, change, command="operator role", done="role_changed")
    _tell(f"{name} is {role} now.", {"name": name, "role": role}, as_json=as_json)


def set_disabled(settings: Settings, name: str, *, disabled: bool, as_json: bool = False) -> None:
    """Shut an operator out at once, or let them in again.

    Raises: HubError: there is no such operator, or it is the last admin.
    """
    word = "disable" if disabled else "enable"
    _change(settings, name, Change(disabled=disabled), command=f"operator {word}", done=f"operator_{word}d")
    told = f"{name} {'cannot sign in any more' if disabled else 'can sign in again'}."
    _tell(told, {"name": name, "disabled": disabled}, as_json=as_json)


def remove_operator(settings: Settings, name: str, *, as_json: bool = False) -> None:
    """Remove an operator.

    Raises: HubError: there is no such operator, or it is the last admin.
    """

    async def main() -> Operator | None:
        async with _desk(settings) as desk:
            found = await desk.store.named(name)
            return await desk.store.remove(found.id) if found else None

    with audited(settings, "operator remove") as noted:
        removed = asyncio.run(main())
        if removed is None:
            raise _nobody(name)
        noted.done("operator_removed", removed.id)
    _tell(f"{name} is removed.", {"removed": name}, as_json=as_json)


def rotate_keys(settings: Settings, *, drop: bool, as_json: bool = False) -> None:
    """Sign access tokens with a new key from now on."""

    async def main() -> str:
        async with _desk(settings) as desk:
            return await desk.sessions.rotate_keys(drop=drop)

    with audited(settings, "operator rotate-keys") as noted:
        key = asyncio.run(main())
        noted.done("signing_key_made", key)
    told = (
        "what earlier keys have signed is refused from now on"
        if drop
        else "earlier tokens run out by themselves"
    )
    _tell(
        f"Access tokens are signed with the key {key} now; {told}.",
        {"key": key, "dropped": drop},
        as_json=as_json,
    )


def _tell(text: str, facts: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        print_json(facts)
    else:
        typer.echo(text)


def _change(settings: Settings, name: str, change: Change, *, command: str, done: str) -> None:
    async def main() -> tuple[Operator, Operator]:
        async with _desk(settings) as desk:
            before = await desk.store.named(name)
            after = await desk.store.change(before.id, change) if before else None
            if before is None or after is None:
                raise _nobody(name)
            return before, after

    with audited(settings, command) as noted:
        before, after = asyncio.run(main())
        if before != after:
            noted.done(done, after.id)


def _find(settings: Settings, name: str) -> None:
    async def main() -> Operator | None:
        async with _desk(settings) as desk:
            return await desk.store.named(name)

    # Before a password is asked for.
    if asyncio.run(main()) is None:
        raise _nobody(name)


def _ask_password() -> str:
    """Read a password from the terminal, twice and unseen, or the first line of what is piped in."""
    if sys.stdin.isatty():
        asked: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return asked
    line = sys.stdin.readline(8 * MAX_CHARS).rstrip("\r\n")
    if not line:
        raise HubError("no password was given; type it at the prompt, or pipe it in as one line")
    return line


def _role(role: str) -> Role:
    for known in ROLES:
        if known == role:
            return known
    raise HubError(f"there is no role {role!r}; roles are {', '.join(ROLES)}")


def _nobody(name: str) -> HubError:
    return HubError(f"there is no operator {name!r}; `hubbub operator list` shows them")
