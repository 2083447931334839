"""Makes the connectors: those of this package by their role, those of others by their entry point."""

from collections.abc import Awaitable, Callable
from importlib.metadata import EntryPoint, entry_points

import structlog

from connectors.base import Connector
from connectors.late import LateConnector
from connectors.parts import GROUP, ConnectorParts, MakeConnector
from hub.bus.bus import Bus
from hub.bus.state import State
from hub.documents.reader import AttachmentReader
from hub.errors import SettingsError
from hub.live import Live
from hub.settings import Settings

log = structlog.get_logger(__name__)


async def _api(settings: Settings, bus: Bus, live: Live) -> list[Connector]:
    from connectors.api import ApiConnector  # noqa: PLC0415

    return [ApiConnector(live)]


async def _web(settings: Settings, bus: Bus, live: Live) -> list[Connector]:
    from connectors.web.connector import WebConnector  # noqa: PLC0415

    if not settings.web.enabled:
        return []
    signing_key = await State(bus.redis, "web").shared_secret("signing_key")
    return [
        WebConnector(
            settings=settings.web,
            public_url=settings.api.public_url,
            live=live,
            history=bus.history,
            turns=bus,
            signing_key=signing_key,
        )
    ]


async def _telegram(settings: Settings, bus: Bus, live: Live) -> list[Connector]:
    from connectors.telegram.webhook import PATH  # noqa: PLC0415

    if not settings.telegram.token.get_secret_value():
        log.info("telegram_off", connect_it="set HUBBUB_TELEGRAM__TOKEN to the token @BotFather gave you")
        return []

    def make() -> Connector:
        # Its library takes about three seconds to import.
        from connectors.telegram.connector import TelegramConnector  # noqa: PLC0415

        return TelegramConnector(
            settings.telegram,
            settings.api.public_url,
            quarantine=bus.dead_letters.quarantine,
            live=live if settings.telegram.stream else None,
        )

    return [LateConnector("telegram", make, posts=[PATH] if settings.api.public_url else [])]


async def _email(settings: Settings, bus: Bus, live: Live) -> list[Connector]:
    from connectors.email.connector import EmailConnector  # noqa: PLC0415

    if not settings.email.accounts:
        log.info("email_off", connect_it="add a table [[email.accounts]] to settings.toml, see docs/email.md")
        return []
    return [
        EmailConnector(
            settings.email, store=State(bus.redis, "email"), quarantine=bus.dead_letters.quarantine
        )
    ]


CONNECTORS: dict[str, Callable[[Settings, Bus, Live], Awaitable[list[Connector]]]] = {
    "api": _api,
    "web": _web,
    "telegram": _telegram,
    "email": _email,
}


def roles_of(settings: Settings) -> tuple[str, ...]:
    """Return all that one process can be with these settings."""
    return (*CONNECTORS, *settings.connectors, "engine")


async def make_connectors(role: str, settings: Settings, bus: Bus, live: Live) -> list[Connector]:
    """Make the connectors of a role; none where it is not set up.

    Raises: SettingsError: it cannot be made with these settings.
    """
    if role in CONNECTORS:
        return await CONNECTORS[role](settings, bus, live)
    table = settings.connectors[role]
    parts = ConnectorParts(
        name=role,
        public_url=settings.api.public_url,
        store=State(bus.redis, role),
        live=live,
        quarantine=bus.dead_letters.quarantine,
        reader=AttachmentReader(),
    )
    connector = _maker(role, str(table.get("type", role)))(table, parts)
    if connector.name != role:
        raise SettingsError(f"the connector of [connectors.{role}] calls itself {connector.name!r}")
    return [connector]


def _maker(name: str, kind: str) -> MakeConnector:
    """Find what makes connectors of a type, among all packages that are installed."""
    found: dict[str, EntryPoint] = {point.name: point for point in entry_points(group=GROUP)}
    if kind not in found:
        known = ", ".join(sorted(found)) or "none"
        raise SettingsError(
            f"[connectors.{name}] has the type {kind!r}, which no installed package offers; there are: {known}"
        )
    try:
        make: MakeConnector = found[kind].load()
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"the connector type {kind!r} cannot be loaded: {error}") from error
    return make
