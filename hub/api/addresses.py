"""Where a request comes from, when proxies may stand between."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import web

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

MAX_HOPS = 20


def client_address(request: web.BaseRequest, trusted: Sequence[Network]) -> Address | None:
    """Return the nearest address that is no trusted proxy; None on a Unix socket.

    Only what trusted proxies wrote into `X-Forwarded-For` is believed: from the right, up to the first address
    that is none of them. What stands left of it can be made up.
    """
    address = peer_address(request)
    if address is None or not within(address, trusted):
        return address
    hops = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
    for hop in hops[: -MAX_HOPS - 1 : -1]:
        nearer = parse_address(hop.strip())
        if nearer is None:
            break
        address = nearer
        if not within(address, trusted):
            break
    return address


def peer_address(request: web.BaseRequest) -> Address | None:
    """Return the other end of the socket; None on a Unix socket."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return parse_address(peer[0]) if isinstance(peer, tuple) else None


def is_forwarded(request: web.BaseRequest) -> bool:
    """Tell whether some proxy says that it passes the request on."""
    return any(name in request.headers for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"))


def within(address: Address, networks: Sequence[Network]) -> bool:
    """Tell whether one of the networks holds the address."""
    return any(address in network for network in networks)


def comes_from(request: web.BaseRequest, networks: Sequence[Network], trusted: Sequence[Network]) -> bool:
    """Tell whether whoever asks is in one of the networks, as far as the socket and trusted proxies tell."""
    address, peer = client_address(request, trusted), peer_address(request)
    # A proxy nobody told us of: its own address says nothing about who asks.
    is_hidden = is_forwarded(request) and (peer is None or not within(peer, trusted))
    return address is not None and not is_hidden and within(address, networks)


def limit_name(address: Address | None) -> str:
    """Name an address for counting; of IPv6 the /64 a household or machine has as a whole."""
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False).network_address)
    return str(address or "local")


def parse_address(text: str) -> Address | None:
    """Read an address; one of IPv4 in the clothes of IPv6 is one of IPv4."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
