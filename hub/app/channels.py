"""Makes the connectors: those of this package by their role, those of others by their entry point."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from connectors.base import Connector
from connectors.late import LateConnector
from connectors.parts import ConnectorParts
from hub.app.extensions import connector_maker
from hub.bus.bus import Bus
from hub.bus.feedback import FeedbackBook
from hub.bus.state import State
from hub.citations import Citations, MarkedHistory
from hub.documents.reader import AttachmentReader
from hub.errors import SettingsError
from hub.live import Live
from hub.model_registry import offered_models
from hub.settings import Settings

if TYPE_CHECKING:
    from connectors.email.visitors import VisitorMail

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HubSide:
    """What connectors are made of; `opened` closes with the process what they opened."""

    settings: Settings
    bus: Bus
    live: Live
    opened: AsyncExitStack

    def state(self, connector: str) -> State:
        """Give a connector its durable state."""
        return State(self.bus.redis, connector)

    def feedback(self, connector: str) -> FeedbackBook:
        """Give a connector the book of judgements."""
        return FeedbackBook(self.bus.redis, connector, shards=self.settings.bus.shards)

    def reader(self) -> AttachmentReader:
        """Open a reader of files; each connector has its own, so that no channel waits for another's files."""
        reader = AttachmentReader()
        self.opened.push_async_callback(reader.close)
        return reader


async def _api(hub: HubSide) -> list[Connector]:
    from connectors.api import ApiConnector  # noqa: PLC0415

    return [ApiConnector(hub.live)]


async def _web(hub: HubSide) -> list[Connector]:
    from connectors.web.connector import WebConnector  # noqa: PLC0415
    from connectors.web.ports import Ports  # noqa: PLC0415

    if not hub.settings.web.enabled:
        return []
    store = hub.state("web")
    ports = Ports(
        live=hub.live,
        history=marked_history(hub),
        turns=hub.bus,
        store=store,
        feedback=hub.feedback("web"),
        reader=hub.reader(),
        mail_out=_visitor_mail(hub),
    )
    return [
        WebConnector(
            settings=hub.settings.web,
            ports=ports,
            public_url=hub.settings.api.public_url,
            signing_key=await store.shared_secret("signing_key"),
        )
    ]


def marked_history(hub: HubSide) -> MarkedHistory:
    """Return the history whose turns tell which of their sources have changed or gone."""
    from hub.database import async_engine, database_url  # noqa: PLC0415
    from knowledge.versions import DocumentVersions  # noqa: PLC0415

    engine = async_engine(database_url(hub.settings))
    hub.opened.push_async_callback(engine.dispose)
    return MarkedHistory(hub.bus.history, Citations(DocumentVersions(engine)))


def _visitor_mail(hub: HubSide) -> "VisitorMail | None":
    """Return who mails answers to visitors who have gone; None where no mail is sent."""
    from connectors.email.visitors import VisitorMail  # noqa: PLC0415

    if not hub.settings.email.accounts:
        return None
    # Whichever process watches the mailboxes sends it.
    return VisitorMail(hub.settings.email.accounts[0], hub.state("email"))


async def _telegram(hub: HubSide) -> list[Connector]:
    from connectors.telegram.webhook import PATH  # noqa: PLC0415

    settings = hub.settings
    if not settings.telegram.token.get_secret_value():
        log.info("telegram_off", connect_it="set HUBBUB_TELEGRAM__TOKEN to the token @BotFather gave you")
        return []

    def make() -> Connector:
        # Its library takes about three seconds to import.
        from connectors.telegram.connector import TelegramConnector  # noqa: PLC0415
        from connectors.telegram.ports import Ports  # noqa: PLC0415
        from connectors.telegram.webhook import Callers  # noqa: PLC0415

        ports = Ports(
            store=hub.state("telegram"),
            quarantine=hub.bus.dead_letters.quarantine,
            live=hub.live if settings.telegram.stream else None,
            reader=hub.reader(),
            feedback=hub.feedback("telegram"),
            history=hub.bus.history,
            models=offered_models(settings),
        )
        networks, proxies = settings.telegram.webhook_networks, settings.api.trusted_proxies
        callers = Callers(networks=networks, trusted_proxies=proxies)
        return TelegramConnector(settings.telegram, settings.api.public_url, ports, callers)

    return [LateConnector("telegram", make, posts=[PATH] if settings.api.public_url else [])]


async def _email(hub: HubSide) -> list[Connector]:
    from connectors.email.connector import EmailConnector  # noqa: PLC0415

    email = hub.settings.email
    if not email.accounts:
        log.info("email_off", connect_it="add a table [[email.accounts]] to settings.toml, see docs/email.md")
        return []
    return [
        EmailConnector(
            email,
            store=hub.state("email"),
            quarantine=hub.bus.dead_letters.quarantine,
            reader=hub.reader(),
        )
    ]


CONNECTORS: dict[str, Callable[[HubSide], Awaitable[list[Connector]]]] = {
    "api": _api,
    "web": _web,
    "telegram": _telegram,
    "email": _email,
}


def roles_of(settings: Settings) -> tuple[str, ...]:
    """Return all that one process can be with these settings."""
    return (*CONNECTORS, *settings.connectors, "engine")


async def make_connectors(role: str, hub: HubSide) -> list[Connector]:
    """Make the connectors of a role; none where it is not set up.

    Raises: SettingsError: it cannot be made with these settings.
    """
    if role in CONNECTORS:
        return await CONNECTORS[role](hub)
    table = hub.settings.connectors[role]
    parts = ConnectorParts(
        name=role,
        public_url=hub.settings.api.public_url,
        store=hub.state(role),
        live=hub.live,
        quarantine=hub.bus.dead_letters.quarantine,
        reader=hub.reader(),
    )
    connector = connector_maker(role, str(table.get("type", role)))(table, parts)
    if connector.name != role:
        raise SettingsError(f"the connector of [connectors.{role}] calls itself {connector.name!r}")
    return [connector]
