"""Fails every test that connects to anything but this machine, by the audit events of Python's sockets.

Programs that tests start are not seen: for them `.ci/run` has all tests run in a network without other machines.
Names and addresses that are reserved for documentation and tests lead nowhere at once, as without a network.
Source: RFC 2606 (names), RFC 5737 and RFC 3849 (addresses).
"""

import errno
import socket
import sys
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from hub.egress.guard import _Present, present

RESERVED_NAMES = ("test", "example", "invalid", "example.com", "example.org", "example.net")
RESERVED_NETWORKS = [
    ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]

strayed: list[str] = []
"""Where the running test has tried to go."""


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        end, address = arguments
        if end.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
            _check_address(str(address[0]), address[1])
    elif event in ("socket.getaddrinfo", "socket.gethostbyname") and arguments[0]:
        host = arguments[0].decode("latin-1") if isinstance(arguments[0], bytes) else str(arguments[0])
        _check_name(host)


def _check_address(host: str, port: int) -> None:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        _check_name(host)
        return
    inner = getattr(address, "ipv4_mapped", None) or address
    if inner.is_loopback or inner.is_unspecified:
        return
    if any(inner in network for network in RESERVED_NETWORKS):
        if present() is None:
            raise OSError(errno.ENETUNREACH, "documentation addresses lead nowhere")
        return
    strayed.append(f"{host}:{port}")
    raise PermissionError(errno.EACCES, f"a test connects to {host}:{port}")


def _check_name(host: str) -> None:
    name = host.lower().rstrip(".")
    own = ("localhost", socket.gethostname().lower())
    if name in own or name.endswith(".localhost"):
        return
    if _is_written_address(name):
        return
    if any(name == reserved or name.endswith(f".{reserved}") for reserved in RESERVED_NAMES):
        # Where the hub's guard stands, that is who refuses.
        if present() is None:
            raise socket.gaierror(socket.EAI_NONAME, "reserved names lead nowhere")
        return
    strayed.append(host)
    raise socket.gaierror(socket.EAI_NONAME, f"a test looks {host} up")


def _is_written_address(name: str) -> bool:
    """Tell whether a host is an address in one of its spellings, `0x7f.1` among them: none of them is looked up."""
    for read in (ip_address, socket.inet_aton):
        try:
            read(name.partition("%")[0])
        except (ValueError, OSError):
            continue
        return True
    return False


@pytest.fixture(autouse=True)
def _stay_on_this_machine() -> Iterator[None]:
    """Fail whoever went astray, also where the error was caught."""
    yield
    # A command that ran in this process has let its guard stand, which knows nothing of the next test's servers.
    _Present.guard = None
    if places := list(dict.fromkeys(strayed)):
        strayed.clear()
        pytest.fail(f"the test went out of this machine, to {', '.join(places)}")


sys.addaudithook(_hear)
