"""Connections to the outside only: a name that leads into a private network is refused when it is resolved.

The address that was checked is the one that is connected to, so that a name cannot change in between.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from aiohttp import TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

_NAT64 = IPv6Network("64:ff9b::/96")


class NotPublic(OSError):
    """An address lies in a private network, or is none that may be asked."""


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address belongs to the public internet, however it is wrapped.

    Source: the IANA special-purpose address registries, as Python's `ipaddress` holds them; RFC 4291 section 2.5.5,
    RFC 3056 and RFC 6052 for IPv4 within IPv6.
    """
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


class PublicResolver(AbstractResolver):
    """Resolves names, and refuses those of which an address is not public."""

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name.

        Raises: NotPublic: one of them is not public.
        """
        found = await self._resolver.resolve(host, port, family)
        if not found or not all(is_public(ip_address(each["host"].partition("%")[0])) for each in found):
            raise NotPublic(f"{host} is not an address of the public internet")
        return found

    async def close(self) -> None:
        """Close what resolves."""
        await self._resolver.close()


def checked_url(text: str, *, may_be_private: bool = False) -> URL:
    """Return an address that may be asked over HTTP.

    Raises: NotPublic: it is none, carries a password, or is an address of a private network itself.
    """
    try:
        url = URL(text)
        host, port = url.host or "", url.port
    except ValueError as error:
        raise NotPublic(f"{text!r} is no address") from error
    if url.scheme not in ("http", "https") or not host or not port or url.user or url.password:
        raise NotPublic("expected an address such as https://search.example.org/query")
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        # A name: whoever connects resolves and checks it.
        return url
    if not may_be_private and not is_public(address):
        raise NotPublic(f"{host} is not an address of the public internet")
    return url


def connector(*, may_be_private: bool = False) -> TCPConnector:
    """Make what connects; it keeps nothing it has resolved."""
    if may_be_private:
        return TCPConnector(use_dns_cache=False)
    return TCPConnector(resolver=PublicResolver(), use_dns_cache=False)
