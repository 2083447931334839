"""Waiting for an event, for a while at most."""

import asyncio
import contextlib


async def happens(event: asyncio.Event, *, within_s: float) -> bool:
    """Wait for an event; False when the time is over first."""
    if event.is_set():
        return True
    with contextlib.suppress(TimeoutError):
        # Not `wait_for`: on Python 3.11 it can swallow a cancellation that meets the event.
        async with asyncio.timeout(within_s):
            await event.wait()
    return event.is_set()
