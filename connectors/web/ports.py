"""What the web channel needs from the hub beside live text: what was said before."""

from collections.abc import Sequence
from typing import Protocol

from hub.messages import Turn


class History(Protocol):
    """The exchanges of a conversation that have ended."""

    async def turns(self, conversation: str, last: int = 50) -> Sequence[Turn]:
        """Return the newest turns, oldest first."""
