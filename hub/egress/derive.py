"""The allowlist that follows from the settings: a destination is allowed because some setting names it."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, SecretStr

from hub.egress.rule import ANY, DATABASE, MODEL_HUB, OLLAMA, PAGES, REDIS, Rule, plain_host
from hub.errors import SettingsError
from hub.model_settings import RemoteSettings
from hub.settings import Settings

_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?:[^/?#]*@)?(?P<places>[^/?#@]*)", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "grpc": 4317}
_REDIS_PORT = 6379
_SENTINEL_PORT = 26379
_POSTGRESQL_PORT = 5432
_HUGGING_FACE = ("*.huggingface.co", "*.hf.co")
"""Where huggingface.co sends for the bytes of large files. Source: the Hub's documentation, "Security", firewalls."""
_LISTENS = frozenset({"public_url"})
"""Addresses of the hub itself: others connect to them."""
_TOLD_APART = frozenset(
    {"bus", "telegram", "email", "models", "provision", "connectors", "egress", "database_url"}
)


def rules_of(settings: Settings) -> list[Rule]:
    """Return what these settings allow, each with its purpose.

    Raises: SettingsError: an address among them cannot be read; the text does not repeat it.
    """
    return [
        *_bus(settings),
        *_database(settings.database_url.get_secret_value()),
        *_telegram(settings),
        *_mail(settings),
        *(rule for name, model in settings.models.items() for rule in _model(name, model)),
        *_model_sources(settings),
        *(
            rule
            for name, table in settings.connectors.items()
            for text in _texts(table)
            for rule in _web(text, f"connector {name}")
        ),
        *_others(settings),
        # Each address of these is looked at where pages are fetched.
        Rule(host=ANY, purpose=PAGES, is_scoped=True),
        *(Rule.read(text, purpose="egress.allow") for text in settings.egress.allow),
    ]


def remote_rules(name: str, model: RemoteSettings) -> list[Rule]:
    """Return what a remote model of the registry allows."""
    return [rule for url in model.base_urls for rule in _web(url, f"model {name}")]


def _bus(settings: Settings) -> Iterator[Rule]:
    url = settings.bus.redis_url.get_secret_value()
    if not url or url.startswith("unix:"):
        return
    scheme = url.partition("://")[0].lower()
    port = _SENTINEL_PORT if "sentinel" in scheme else _REDIS_PORT
    yield from _places(url, "bus.redis_url", purpose=REDIS, port=port)
    if "sentinel" in scheme or "cluster" in scheme:
        # Its nodes tell where the others are.
        yield Rule(host=ANY, purpose=REDIS, is_scoped=True)


def _database(url: str) -> Iterator[Rule]:
    if not url.startswith("postgres"):
        return
    # As large as the driver, and needed by nobody who keeps the SQLite file.
    from sqlalchemy import make_url  # noqa: PLC0415
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # What stands there may hold a password.
        raise SettingsError(
            "database_url cannot be read: expected such as postgresql://user@host/name"
        ) from None
    named = [parsed.host or "", *_options(parsed.query, "host"), *_options(parsed.query, "hostaddr")]
    for host in filter(None, named):
        # Others than the first may have ports of their own, in a list beside them.
        port = (parsed.port or _POSTGRESQL_PORT) if host == parsed.host else 0
        if not host.startswith("/"):
            yield Rule(host=plain_host(host), port=port, purpose=DATABASE)


def _options(query: Mapping[str, Any], name: str) -> list[str]:
    value = query.get(name, ())
    texts = [value] if isinstance(value, str) else list(value)
    # `host=name:port` several times is SQLAlchemy's way of several hosts, `host=a,b` that of libpq.
    return [host.partition(":")[0] for text in texts for host in text.split(",")]


def _telegram(settings: Settings) -> Iterator[Rule]:
    if settings.telegram.token.get_secret_value():
        yield from _web(settings.telegram.api_base, "telegram")


def _mail(settings: Settings) -> Iterator[Rule]:
    for account in settings.email.accounts:
        for host, port in ((account.imap_host, account.imap_port), (account.smtp_host, account.smtp_port)):
            yield Rule(host=plain_host(host), port=port, purpose=f"email {account.address}")


def _model(name: str, model: object) -> list[Rule]:
    return remote_rules(name, model) if isinstance(model, RemoteSettings) else []


def _model_sources(settings: Settings) -> Iterator[Rule]:
    # While a model is fetched, and by what fetches it: libraries that would ask the same hub on their own may not.
    for rule in _web(settings.provision.hub_url, MODEL_HUB, is_scoped=True):
        yield rule
        if rule.host == "huggingface.co":
            for host in _HUGGING_FACE:
                yield Rule(host=host, port=rule.port, purpose=MODEL_HUB, is_scoped=True)
    yield from _web(settings.provision.ollama_url, OLLAMA, is_scoped=True)


def _others(settings: Settings) -> Iterator[Rule]:
    """Give what tables without rules of their own name: every text of theirs that is the address of a server."""
    for name in type(settings).model_fields:
        table = getattr(settings, name)
        if name in _TOLD_APART or not isinstance(table, BaseModel):
            continue
        for field in type(table).model_fields:
            value = getattr(table, field)
            if isinstance(value, str) and field not in _LISTENS:
                yield from _web(value, f"{name}.{field}")


def _web(url: str, purpose: str, *, is_scoped: bool = False) -> Iterator[Rule]:
    found = _URL.match(url.strip())
    if found is None or (port := _PORTS.get(found["scheme"].lower())) is None:
        return
    yield from _places(url.strip(), purpose, purpose=purpose, port=port, is_scoped=is_scoped)


def _places(url: str, setting: str, *, purpose: str, port: int, is_scoped: bool = False) -> Iterator[Rule]:
    """Read the hosts of a URL, one or several with commas between them."""
    found = _URL.match(url)
    try:
        if found is None:
            raise ValueError
        for place in found["places"].split(","):
            if place:
                rule = Rule.read(place, purpose=purpose)
                yield Rule(host=rule.host, port=rule.port or port, purpose=purpose, is_scoped=is_scoped)
    except ValueError:
        # What stands there may hold a password.
        raise SettingsError(
            f"{setting} cannot be read: expected such as scheme://user@host:port/name, "
            "with / ? # @ in the password written as %2F %3F %23 %40"
        ) from None


def _texts(value: Any) -> Iterable[str]:
    match value:
        case str():
            yield value
        case SecretStr():
            yield value.get_secret_value()
        case Mapping():
            for inner in value.values():
                yield from _texts(inner)
        case list() | tuple():
            for inner in value:
                yield from _texts(inner)
