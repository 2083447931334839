"""`cancel`: an operator stops what a conversation waits for."""

import asyncio
import sys

import orjson

from hub.app import redis_url
from hub.bus.bus import Bus
from hub.cli.database import audited
from hub.settings import Settings


def cancel_turns(settings: Settings, conversation: str, turn: str, *, as_json: bool) -> None:
    """Cancel a turn, or all of a conversation that wait or run, and print which.

    Raises: HubError: no hub runs on these settings, or Redis is away.
    """

    async def main() -> list[str]:
        bus = Bus(redis_url(settings), settings.bus)
        try:
            return await bus.cancel(conversation, turn)
        finally:
            await bus.close()

    with audited(settings, "cancel") as noted:
        turns = asyncio.run(main())
        if turns:
            noted.done("turns_cancelled", conversation, turns=len(turns))
    if as_json:
        sys.stdout.write(orjson.dumps({"conversation": conversation, "cancelled": turns}).decode() + "\n")
        return
    sys.stdout.write(f"Cancelled: {', '.join(turns)}\n" if turns else "There was nothing to cancel.\n")
