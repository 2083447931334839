"""`cancel`: an operator stops what a conversation waits for."""

import asyncio
import sys

from hub.cli.database import audited, opened_bus
from hub.cli.printing import print_json
from hub.settings import Settings


def cancel_turns(settings: Settings, conversation: str, turn: str, *, as_json: bool) -> None:
    """Cancel a turn, or all of a conversation that wait or run, and print which.

    Raises: HubError: no hub runs on these settings, or Redis is away.
    """

    async def main() -> list[str]:
        async with opened_bus(settings) as bus:
            return await bus.cancel(conversation, turn)

    with audited(settings, "cancel") as noted:
        turns = asyncio.run(main())
        if turns:
            noted.done("turns_cancelled", conversation, turns=len(turns))
    if as_json:
        print_json({"conversation": conversation, "cancelled": turns})
        return
    sys.stdout.write(f"Cancelled: {', '.join(turns)}\n" if turns else "There was nothing to cancel.\n")
