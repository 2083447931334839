"""The tests stay on this machine, and would be told if they did not."""

import errno
import socket

import pytest

from tests.local_only import strayed


@pytest.mark.parametrize("address", [("8.8.8.8", 53), ("2606:4700::1111", 443), ("169.254.169.254", 80)])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_whoever_connects_elsewhere_is_found(address: tuple[str, int], kind: socket.SocketKind) -> None:
    """Before a packet leaves; also without a connection."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, kind) as end:
        with pytest.raises(PermissionError):
            end.connect(address)
        if kind is socket.SOCK_DGRAM:
            with pytest.raises(PermissionError):
                end.sendto(b"x", address)

    assert strayed[0] == f"{address[0]}:{address[1]}"
    # Else this test would fail for it, as every other one would.
    strayed.clear()


def test_whoever_looks_a_name_up_is_found() -> None:
    """A name server is another machine, too."""
    with pytest.raises(socket.gaierror):
        socket.create_connection(("huggingface.co", 443))

    assert strayed == ["huggingface.co"]
    strayed.clear()


def test_names_and_addresses_of_documentation_lead_nowhere() -> None:
    """At once, and as they would without a network, so that tests may use them."""
    with pytest.raises(socket.gaierror) as by_name:
        socket.create_connection(("imap.example.org", 993))
    with pytest.raises(OSError, match="lead nowhere") as by_address:
        socket.create_connection(("192.0.2.1", 993))

    assert by_name.value.errno == socket.EAI_NONAME
    assert by_address.value.errno == errno.ENETUNREACH
    assert strayed == []
