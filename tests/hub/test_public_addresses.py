"""Which addresses may be asked, whatever clothes they wear."""

import socket
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from hub.public_addresses import (
    AddressRefused,
    CheckedResolver,
    NotPublic,
    check_host,
    checked_url,
    is_allowed,
    resolve,
)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "fec0::1",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2001:0:7f00:1::1",
        "2001:db8::1",
    ],
)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    """Whatever clothes they wear, unless their network is allowed."""
    assert not is_allowed(ip_address(address))
    assert not is_allowed(ip_address(address), (ip_network("203.0.113.0/24"),))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_allowed(address: str) -> None:
    """Also those of IPv4 in the clothes of IPv6."""
    assert is_allowed(ip_address(address))


@pytest.mark.parametrize(
    ("address", "network"),
    [("10.1.2.3", "10.1.0.0/16"), ("::ffff:10.1.2.3", "10.1.0.0/16"), ("fd12::1", "fd12::/16")],
)
def test_a_network_can_be_allowed(address: str, network: str) -> None:
    """An intranet that the settings name."""
    assert is_allowed(ip_address(address), (ip_network(network),))


@pytest.mark.parametrize(
    "text", ["ftp://example.org", "https://u:p@example.org/", "http://", "http://[::1", ""]
)
def test_what_is_no_address_of_the_web_is_refused(text: str) -> None:
    """Other schemes, passwords, and what nobody can read."""
    with pytest.raises(AddressRefused):
        checked_url(text)


@pytest.mark.parametrize("host", ["10.0.0.1", "[::ffff:10.0.0.1]", "[::1%25lo]", "2130706433", "127.1"])
def test_a_host_that_is_an_address_is_checked(host: str) -> None:
    """A resolver is never asked about one."""
    with pytest.raises(AddressRefused):
        check_host(checked_url(f"http://{host}/"))
    check_host(checked_url("http://1.1.1.1/"))
    check_host(checked_url("http://example.org/"))


async def test_of_several_addresses_only_those_that_may_be_asked_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is given is what is connected to, so the others harm nobody; where none is left, that is told."""
    answers: dict[str, tuple[str, ...]] = {
        "mixed.invalid": ("10.0.0.1", "8.8.8.8"),
        "inner.invalid": ("10.0.0.1",),
    }

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answers[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    assert [found["host"] for found in await CheckedResolver().resolve("mixed.invalid", 80)] == ["8.8.8.8"]
    with pytest.raises(NotPublic, match=r"inner\.invalid"):
        await resolve("inner.invalid", 80)
    assert await resolve("inner.invalid", 80, [ip_network("10.0.0.0/8")]) == [ip_address("10.0.0.1")]
