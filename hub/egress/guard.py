"""The guard of a process: every connection out of it is named by a setting, or refused before a packet leaves.

It stands where Python itself opens connections and looks names up (audit events), so that no library gets past it
by accident; `hub.egress.loop` does the same for the event loop written in C, and what connects from C on its own,
libpq and git, is asked about by name (`reach`). Unix sockets do not leave the machine. It is no sandbox: a program
that means harm and runs inside the process can call the system past Python.
Source: Python's audit events table, `socket.connect`, `socket.getaddrinfo` and their like.
"""

import errno
import functools
import socket
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from hub.egress.ledger import Ledger, Place
from hub.egress.rule import Address, Rule, as_address, plain_host
from hub.errors import HubError

MOST_NAMES = 4096
"""Addresses of which it is remembered under which name they were found."""
MOST_NAMES_OF_ONE = 32
_LOCAL = {socket.AF_UNIX} | {
    getattr(socket, name) for name in ("AF_NETLINK", "AF_ALG") if hasattr(socket, name)
}
"""Families that reach this machine's own kernel and programs alone."""

_purpose: ContextVar[str] = ContextVar("purpose", default="")


class EgressRefused(HubError, OSError):
    """No setting names a destination; libraries take it for a connection that the system does not permit."""

    def __str__(self) -> str:
        return str(self.strerror)


@contextmanager
def connecting_for(purpose: str) -> Iterator[None]:
    """Say what connections of this block are for; rules of that purpose hold in it, also in the tasks it starts."""
    token = _purpose.set(purpose)
    try:
        yield
    finally:
        _purpose.reset(token)


class EgressGuard:
    """Compares destinations with rules, and keeps the ledger.

    Args:
        rules: what is allowed.
        process: what this process is called in the ledger, such as `engine`.
    """

    def __init__(self, rules: Iterable[Rule], *, process: str) -> None:
        self.rules = tuple(rules)
        self.process = process
        self.ledger = Ledger()
        self._names: OrderedDict[Address, tuple[str, ...]] = OrderedDict()

    def allow(self, rules: Iterable[Rule]) -> None:
        """Allow more."""
        self.rules = tuple(dict.fromkeys((*self.rules, *rules)))

    def look_up(self, host: str, port: int) -> None:
        """Allow a name to be looked up.

        Raises: EgressRefused: no rule is about it.
        """
        name = plain_host(host)
        if as_address(name) is not None or self._rule_of_name(name, port):
            return
        # Whether a name lies in an allowed network is known only after it was looked up.
        if any(rule.network is not None and rule.network.num_addresses > 1 for rule in self._usable()):
            return
        raise self._refused(name, port)

    def learn(self, host: str, addresses: Iterable[str]) -> None:
        """Remember under which name addresses were found, for the connections that follow."""
        name = plain_host(host)
        for text in addresses:
            if (address := as_address(text)) is None:
                continue
            names = self._names.pop(address, ())
            self._names[address] = names if name in names else (*names, name)[-MOST_NAMES_OF_ONE:]
            if len(self._names) > MOST_NAMES:
                self._names.popitem(last=False)

    def reach(self, host: str, port: int) -> None:
        """Allow a connection, and note it.

        Args:
            host: an address, or a name that is looked up by whoever connects.

        Raises: EgressRefused: no rule allows it.
        """
        name = plain_host(host)
        if (address := as_address(name)) is None:
            found, shown = self._rule_of_name(name, port), name
        else:
            found, shown = self._rule_of_address(address, port)
        if found is None:
            raise self._refused(shown, port)
        self.ledger.note(Place(shown, port, found.purpose))

    def _usable(self) -> list[Rule]:
        purpose = _purpose.get()
        return [rule for rule in self.rules if not rule.is_scoped or rule.purpose == purpose]

    def _rule_of_name(self, name: str, port: int) -> Rule | None:
        return next((rule for rule in self._usable() if rule.takes_name(name, port)), None)

    def _rule_of_address(self, address: Address, port: int) -> tuple[Rule | None, str]:
        names = self._names.get(address, ())
        for name in names:
            if rule := self._rule_of_name(name, port):
                return rule, name
        rule = next((rule for rule in self._usable() if rule.takes_address(address, port)), None)
        return rule, str(address) if rule or not names else names[-1]

    def _refused(self, host: str, port: int) -> EgressRefused:
        place = Place(host[:253], port, "")
        where = str(Rule(host=place.host, port=port, purpose=""))
        advice = f'if it is meant to be, add "{where}" to egress.allow'
        if self.ledger.note(place, refused=True):
            # Processes that read one hostile file each import this module, and never come here.
            from structlog import get_logger  # noqa: PLC0415

            log = get_logger(__name__)
            log.warning("egress_refused", host=place.host, port=port, process=self.process, advice=advice)
        return EgressRefused(errno.EACCES, f"no setting allows a connection to {where}; {advice}")


class _Present:
    """The guard of this process: audit hooks belong to a process and cannot be taken away again."""

    guard: EgressGuard | None = None
    is_hooked = False


def install(rules: Sequence[Rule], *, process: str) -> EgressGuard:
    """Let a guard stand in this process from now on; it takes the place of an earlier one."""
    _Present.guard = EgressGuard(rules, process=process)
    if not _Present.is_hooked:
        _Present.is_hooked = True
        sys.addaudithook(_hear)
        socket.getaddrinfo = _learning(socket.getaddrinfo)
    return _Present.guard


def present() -> EgressGuard | None:
    """Return the guard of this process; None where none stands, as in programs that only use a part of the hub."""
    return _Present.guard


def reach(host: str, port: int) -> None:
    """Ask the guard of this process for a connection that Python does not open itself; see `EgressGuard.reach`."""
    if _Present.guard:
        _Present.guard.reach(host, port)


def name_process(name: str) -> None:
    """Say what the ledger calls this process from now on."""
    if _Present.guard:
        _Present.guard.process = name


def allow(rules: Iterable[Rule]) -> None:
    """Let the guard of this process allow what was read from the settings later, such as an entry of models.json."""
    if _Present.guard:
        _Present.guard.allow(rules)


def _learning(plain: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(plain)
    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        found = plain(host, *arguments, **options)
        if host and _Present.guard:
            _Present.guard.learn(_text(host), (str(entry[4][0]) for entry in found))
        return found

    return getaddrinfo


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    # Called for every audit event of the process, imports and opened files among them.
    if (check := _CHECKS.get(event)) is not None and (guard := _Present.guard) is not None:
        check(guard, *arguments)


def _on_connect(guard: EgressGuard, end: socket.socket, address: Any) -> None:
    if end.family in _LOCAL or not address:
        return
    if end.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
        guard.reach(_text(address[0]), int(address[1]))
    else:
        guard.reach(f"family-{int(end.family)}", 0)


def _on_lookup(guard: EgressGuard, host: Any, port: Any = 0, *_: Any) -> None:
    # Without a host it is asked what this machine listens on.
    if host:
        text = _text(port or 0)
        guard.look_up(_text(host), int(text) if text.isdigit() else 0)


def _on_reverse_lookup(guard: EgressGuard, address: Any) -> None:
    guard.look_up(_text(address[0]), 0)


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes | bytearray) else str(value)


_CHECKS: dict[str, Callable[..., None]] = {
    "socket.connect": _on_connect,
    "socket.sendto": _on_connect,
    "socket.sendmsg": _on_connect,
    "socket.getaddrinfo": _on_lookup,
    "socket.gethostbyname": _on_lookup,
    "socket.gethostbyaddr": _on_lookup,
    "socket.getnameinfo": _on_reverse_lookup,
}
