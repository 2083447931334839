"""One line of the allowlist: a host, the hosts of a domain, or a network, and a port."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

ANY = "*"
_WRITTEN = re.compile(
    r"(?:\[(?P<bracketed>[^\]]+)\]|(?P<plain>[^:\[\]]+)|(?P<bare>[0-9A-Fa-f:.]+(?:/\d+)?))(?::(?P<port>\d{1,5}))?"
)
_NAME = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_-]{1,63})*")


def as_address(host: str) -> Address | None:
    """Read a host that is an address itself; None where it is a name."""
    try:
        address = ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
    # What is wrapped in IPv6 is connected to by IPv4.
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def plain_host(host: str) -> str:
    """Give a host as rules hold it: lower case, without the dot that ends a full name, names of all scripts as in DNS."""
    text = host.strip().lower().rstrip(".")
    if text.isascii():
        return text
    try:
        return text.encode("idna").decode("ascii")
    except UnicodeError:
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Where connections may go."""

    host: str
    """A name, `*.` and a domain, an address, a network such as `10.0.0.0/8`, or `*` for all."""
    port: int = 0
    """0: every port."""
    purpose: str
    """What of the hub connects there."""
    is_scoped: bool = False
    """Holds only in code that says it connects for this purpose; libraries at large do not."""

    @classmethod
    def read(cls, text: str, *, purpose: str) -> Self:
        """Read a rule as the settings write it.

        Raises: ValueError: it is none.
        """
        found = _WRITTEN.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"{text[:100]!r} is no host, host:port or network:port")
        host = found["bracketed"] or found["plain"] or found["bare"] or ""
        port = int(found["port"] or 0)
        if port > 65535:
            raise ValueError(f"{text[:100]!r} holds a port above 65535")
        return cls(host=_checked(host, text), port=port, purpose=purpose)

    @property
    def network(self) -> Network | None:
        """The network it allows; None where it is about names."""
        address = as_address(self.host)
        if address is not None:
            return ip_network(address)
        return ip_network(self.host) if "/" in self.host else None

    def takes_name(self, host: str, port: int) -> bool:
        """Tell whether it allows a name, as `plain_host` gives it; port 0 asks for any port."""
        if self.port and port and port != self.port:
            return False
        if self.host.startswith("*."):
            return host.endswith(self.host[1:])
        return self.host in (ANY, host)

    def takes_address(self, address: Address, port: int) -> bool:
        """Tell whether it allows an address."""
        if self.port and port != self.port:
            return False
        network = self.network
        return self.host == ANY or (network is not None and address in network)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else host


def _checked(host: str, text: str) -> str:
    if (address := as_address(host)) is not None:
        return str(address)
    if "/" in host:
        try:
            return str(ip_network(host))
        except ValueError as error:
            raise ValueError(f"{text[:100]!r} is no network: {error}") from None
    name = plain_host(host)
    if not _NAME.fullmatch(name):
        raise ValueError(f"{text[:100]!r} is no host, host:port or network:port")
    return name


PAGES = "pages"
"""Purpose: web pages and repositories that an operator adds; `hub.public_addresses` looks at each address."""
MODEL_HUB = "model hub"
OLLAMA = "ollama"
REDIS = "redis"
DATABASE = "database"
