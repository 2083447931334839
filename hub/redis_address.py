"""Reads `bus.redis_url`: one server, a master that sentinels name, or a Cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from hub.errors import SettingsError

Kind = Literal["single", "sentinel", "cluster"]
Node = tuple[str, int]

_SINGLE = ("redis", "rediss", "unix")
_PORTS: Mapping[Kind, int] = {"sentinel": 26379, "cluster": 6379}
_TLS = frozenset(
    {"ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"}
)
_SENTINEL = frozenset({"db", "sentinel_username", "sentinel_password"})
FORMS = (
    "redis://host:6379/0, rediss://host:6379/0, unix:///path/redis.sock, "
    "redis+sentinel://host:26379,host:26379/master?db=0 or redis+cluster://host:6379,host:6379; "
    "rediss+sentinel:// and rediss+cluster:// are the same by TLS"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """Where Redis is, and how to get in."""

    kind: Kind
    url: str
    """As it was given; it may hold passwords."""
    nodes: tuple[Node, ...] = ()
    """Sentinels, or some servers of a Cluster."""
    master: str = ""
    """Name by which sentinels know the master."""
    tls: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of connections to servers: database, user, password, TLS."""
    sentinel_options: Mapping[str, Any] = field(default_factory=dict)
    """Of connections to sentinels."""

    @property
    def shown(self) -> str:
        """Say where it is, without passwords."""
        if self.kind == "single":
            parts = urlsplit(self.url)
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        hosts = ",".join(f"{host}:{port}" for host, port in self.nodes)
        return f"{urlsplit(self.url).scheme}://{hosts}" + (f"/{self.master}" if self.master else "")


def read_address(url: str) -> RedisAddress:
    """Read a URL.

    Raises: SettingsError: it has another form; no password of it is in the text.
    """
    parts = urlsplit(url.strip())
    if parts.scheme in _SINGLE:
        if "," in parts.netloc.rpartition("@")[2]:
            raise SettingsError(
                f"bus.redis_url names several servers, but {parts.scheme}:// is for one; take "
                f"{parts.scheme}+sentinel://.../<master> or {parts.scheme}+cluster://..."
            )
        return RedisAddress(kind="single", url=url)
    many: Mapping[str, tuple[Kind, bool]] = {
        "redis+sentinel": ("sentinel", False),
        "rediss+sentinel": ("sentinel", True),
        "redis+cluster": ("cluster", False),
        "rediss+cluster": ("cluster", True),
    }
    if parts.scheme not in many:
        raise SettingsError(f"bus.redis_url begins with {parts.scheme[:40]!r}; expected one of: {FORMS}")
    kind, tls = many[parts.scheme]
    return _read_many(url, parts, kind, tls=tls)


def _read_many(url: str, parts: SplitResult, kind: Kind, *, tls: bool) -> RedisAddress:
    user, _, hosts = parts.netloc.rpartition("@")
    nodes = tuple(_node(host, _PORTS[kind]) for host in hosts.split(",") if host.strip())
    if not nodes:
        raise SettingsError(f"bus.redis_url names no host; expected one of: {FORMS}")
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = _TLS | (_SENTINEL if kind == "sentinel" else frozenset())
    if unknown := sorted(asked.keys() - known):
        raise SettingsError(
            f"bus.redis_url asks for {unknown[0][:40]!r}; expected only: {', '.join(sorted(known))}"
        )
    shared: dict[str, Any] = {name: asked[name] for name in sorted(_TLS & asked.keys())}
    if shared and not tls:
        raise SettingsError(f"bus.redis_url asks for {next(iter(shared))!r}; that needs rediss+{kind}://")
    if "ssl_check_hostname" in shared:
        shared["ssl_check_hostname"] = shared["ssl_check_hostname"].lower() in ("1", "true", "yes")
    options, sentinel_options = dict(shared), dict(shared)
    name, _, password = user.partition(":")
    _put(options, "username", unquote(name))
    _put(options, "password", unquote(password))
    _put(sentinel_options, "username", asked.get("sentinel_username", ""))
    _put(sentinel_options, "password", asked.get("sentinel_password", ""))
    master = unquote(parts.path.strip("/"))
    if kind == "sentinel":
        options["db"] = _number(asked.get("db", "0"))
        if not master or "/" in master:
            raise SettingsError(
                "bus.redis_url names no master; expected redis+sentinel://host:26379/<name of the master>?db=0"
            )
    elif master and master != "0":
        raise SettingsError("bus.redis_url ends with a path, but a Cluster has database 0 only; leave it out")
    return RedisAddress(
        kind=kind,
        url=url,
        nodes=nodes,
        master=master if kind == "sentinel" else "",
        tls=tls,
        options=options,
        sentinel_options=sentinel_options,
    )


def _put(options: dict[str, Any], name: str, value: str) -> None:
    if value:
        options[name] = value


def _node(text: str, port: int) -> Node:
    try:
        parts = urlsplit(f"//{text.strip()}")
        found = (parts.hostname or "", parts.port or port)
    except ValueError:
        found = ("", port)
    if not found[0]:
        raise SettingsError(f"bus.redis_url names the host {text.strip()[:80]!r}; expected host:port")
    return found


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise SettingsError(f"bus.redis_url asks for database {text[:20]!r}; expected a number such as db=0")
    return int(text)
