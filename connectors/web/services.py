"""What all sockets and routes of the web channel share in one process."""

from collections.abc import Callable
from dataclasses import dataclass

from connectors.base import AttachmentReader, Feedback, Publish
from connectors.live import Live
from connectors.store import Store
from connectors.web.kept_files import KeptFiles
from connectors.web.mailed import MailedAnswers
from connectors.web.pace import Pace
from connectors.web.ports import History, Turns
from connectors.web.sites import Sites
from connectors.web.tickets import Tickets
from connectors.web.visitors import VisitorTokens
from hub.web_settings import WebSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts, each made once."""

    live: Live
    history: History
    turns: Turns
    sites: Sites
    tokens: VisitorTokens
    tickets: Tickets
    pace: Pace
    store: Store
    files: KeptFiles
    mailed: MailedAnswers
    feedback: Feedback | None
    reader: AttachmentReader | None
    settings: WebSettings
    publish: Callable[[], Publish | None]
    """Where messages go; None while the hub starts or stops."""
