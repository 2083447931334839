"""Which network addresses may be asked: those of the public internet, and what the settings allow.

Whoever names an address could otherwise make this machine ask its own network: its router, its databases, the
metadata service of its cloud. The address that was checked is the one that is connected to, so that a name cannot
change in between.
"""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from hub.errors import HubError

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_WRAPPED = (
    IPv6Network("64:ff9b::/96"),
    IPv6Network("64:ff9b:1::/48"),
    IPv6Network("::/96"),
)
"""IPv6 networks whose last 32 bits are an address of IPv4. Source: RFC 6052, RFC 8215, RFC 4291 section 2.5.5.1."""


class AddressRefused(HubError):
    """Something is no address of the web, or one that must not be asked; the text says which."""


class NotPublic(AddressRefused):
    """An address of a network that must not be asked."""

    def __init__(self, host: str) -> None:
        super().__init__(f"{host} is not on the public internet")


def is_allowed(address: Address, allowed: Sequence[Network] = ()) -> bool:
    """Tell whether an address may be asked, and so may each address that is wrapped in it.

    Source: the IANA special-purpose address registries, as Python's `ipaddress` holds them.
    """
    return all(_is_public(one) or any(one in network for network in allowed) for one in _meant(address))


def checked_address(text: str, allowed: Sequence[Network] = ()) -> Address:
    """Read an address that may be asked.

    Raises: NotPublic: it may not. ValueError: it is no address.
    """
    address = ip_address(text)
    if not is_allowed(address, allowed):
        raise NotPublic(text)
    return address


def checked_url(text: str) -> URL:
    """Read an address of the web, without its fragment.

    Raises: AddressRefused: it is none, or holds a name or password.
    """
    try:
        url = URL(text).with_fragment(None)
        host, port = url.host, url.port
    except ValueError as error:
        raise AddressRefused("is no address of a page") from error
    if url.scheme not in ("http", "https") or not host or not port:
        raise AddressRefused("is no address of a page: expected http:// or https://")
    if url.user is not None or url.password is not None:
        raise AddressRefused("holds a name or password, which are not sent")
    return url


def check_host(url: URL, allowed: Sequence[Network] = ()) -> None:
    """Check a host that is an address itself: a resolver is not asked about those.

    Raises: AddressRefused: it must not be asked, or is an address in one of its old spellings.
    """
    host = (url.raw_host or "").partition("%")[0]
    try:
        checked_address(host, allowed)
    except ValueError:
        # `127.1` and `2130706433` are addresses to a socket, and to nobody else.
        if host.replace(".", "").isdigit():
            raise AddressRefused(f"{host} is no address") from None


async def resolve(
    host: str, port: int, allowed: Sequence[Network] = (), family: socket.AddressFamily = socket.AF_UNSPEC
) -> list[Address]:
    """Look a name up, once.

    Returns: those of its addresses that may be asked, at least one.
    Raises: NotPublic: none may. OSError: the name is not known.
    """
    # In a thread that knows what it is looked up for; the event loop's own would not.
    found = await asyncio.to_thread(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM, family=family)
    addresses = dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found)
    if usable := [address for address in addresses if is_allowed(address, allowed)]:
        return usable
    raise NotPublic(host)


class CheckedResolver(AbstractResolver):
    """Resolver of an HTTP client: what it gives is what is connected to, so no second answer of a name counts."""

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Look a name up; see `resolve`."""
        addresses = await resolve(host, port, self._allowed, family)
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


def checked_connector(allowed: Sequence[Network] = ()) -> TCPConnector:
    """Make what connects to addresses that may be asked; it keeps neither names nor connections.

    Whoever uses it calls `check_host` before each request, and follows no redirection unchecked.
    """
    return TCPConnector(resolver=CheckedResolver(allowed), use_dns_cache=False, force_close=True, limit=1)


def _meant(address: Address) -> list[Address]:
    """Give an address, or the ones of IPv4 that it stands for."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    found: list[Address] = [address]
    if address.sixtofour:
        found.append(address.sixtofour)
    if address.teredo:
        found.extend(address.teredo)
    if any(address in network for network in _WRAPPED):
        found.append(IPv4Address(int(address) & 0xFFFF_FFFF))
    return found


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address):
        # NAT64 is reserved, and as public as the address that is wrapped in it.
        if address in _WRAPPED[0]:
            return True
        if address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)
