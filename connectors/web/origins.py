"""Which pages may hold the widget: origins compared letter by letter."""

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from hub.errors import SettingsError

HUB_SITE = "hub"
"""Site of visitors on the hub's own page."""

_HOST = re.compile(r"(?P<name>[a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOCAL_SUFFIXES = (".localhost", ".local", ".lan", ".internal", ".home.arpa")


class Origins:
    """The origins whose pages may open a socket."""

    def __init__(self, allowed: Iterable[str], public_url: str) -> None:
        self._allowed = frozenset(origin_of(url, "web.allowed_origins") for url in allowed)
        self._own = origin_of(public_url, "api.public_url", with_path=True) if public_url else ""

    def site(self, origin: str, host: str) -> str | None:
        """Return the site a socket belongs to; None when its page is not welcome.

        Args:
            origin: the `Origin` header; empty when it is missing.
            host: the `Host` header.
        """
        if origin in self._allowed:
            return origin
        if origin and (origin == self._own or self._is_same_host(origin, host.lower())):
            return HUB_SITE
        return None

    def _is_same_host(self, origin: str, host: str) -> bool:
        scheme, separator, rest = origin.partition("://")
        match = _HOST.fullmatch(host)
        if not separator or scheme not in _DEFAULT_PORTS or rest != host or match is None:
            return False
        # A name an attacker owns can be pointed at 127.0.0.1 (DNS rebinding) and then matches the Host header.
        # Over https that cannot happen: somebody holds a certificate for this name. Over plain http only names
        # that nobody can register count as the hub's own, unless `api.public_url` says more.
        return _is_local(match["name"]) or (scheme == "https" and not self._own)


def origin_of(url: str, setting: str, *, with_path: bool = False) -> str:
    """Return the origin of a URL as browsers write it.

    Raises: SettingsError: it is not `http(s)://host[:port]`.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"{setting}: {url!r} is not an origin: {error}") from error
    is_bare = parts.path in ("", "/") and not parts.query and not parts.fragment
    if (
        parts.scheme not in _DEFAULT_PORTS
        or not parts.hostname
        or parts.username
        or not (is_bare or with_path)
    ):
        raise SettingsError(f"{setting}: expected an origin such as https://www.example.org, found {url!r}")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    suffix = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{name}{suffix}"


def _is_local(name: str) -> bool:
    if "." not in name and not name.startswith("["):
        return True
    if name.endswith(_LOCAL_SUFFIXES):
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
