"""What the parts of the connector share: one bot's connection, and what it shows and knows."""

from collections import Counter
from dataclasses import dataclass, field

from connectors.telegram.buttons import Buttons
from connectors.telegram.chats import Chats
from connectors.telegram.client import Client
from connectors.telegram.display import Display
from connectors.telegram.notices import Notices
from connectors.telegram.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class Bot:
    """One bot."""

    client: Client
    ports: Ports
    chats: Chats
    buttons: Buttons
    display: Display
    notices: Notices
    ignored: Counter[str] = field(default_factory=Counter)
    """How many updates were left alone, by reason."""
