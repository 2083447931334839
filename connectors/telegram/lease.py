"""Which process asks Telegram for updates: two that do it at once throw each other out."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator

import structlog

from connectors.store import Store
from hub.errors import BusError

log = structlog.get_logger(__name__)

LEASE_S = 15.0
RENEW_S = 5.0


class PollerLease:
    """Held by one process of all that share a store.

    Args:
        process: names this process to the others; empty is made of machine and process id.
    """

    def __init__(self, bot_id: int, store: Store, process: str = "") -> None:
        self._name = f"poller:{bot_id}"
        self._store = store
        self._me = process or f"{socket.gethostname()}:{os.getpid()}"

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[asyncio.Event]:
        """Wait for the lease and keep it; the event is set when another process has it all the same."""
        await self._take()
        lost = asyncio.Event()
        renewing = asyncio.create_task(self._renew(lost), name="poller lease")
        try:
            yield lost
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            with contextlib.suppress(BusError):
                if not lost.is_set() and await self._store.get(self._name) == self._me:
                    await self._store.delete(self._name)

    async def is_elsewhere(self) -> bool:
        """Tell whether another process polls.

        Raises: BusError: the store cannot be reached.
        """
        holder = await self._store.get(self._name)
        return holder is not None and holder != self._me and not self._is_gone(holder)

    async def _take(self) -> None:
        is_told = False
        while True:
            try:
                holder = await self._store.keep_first(self._name, self._me, LEASE_S)
                if holder == self._me:
                    return
                if self._is_gone(holder):
                    await self._store.delete(self._name)
                    continue
            except BusError as error:
                log.warning("poller_lease_unknown", reason=str(error))
            else:
                if not is_told:
                    log.info("polling_elsewhere", process=holder)
                    is_told = True
            await asyncio.sleep(RENEW_S)

    async def _renew(self, lost: asyncio.Event) -> None:
        while not lost.is_set():
            await asyncio.sleep(RENEW_S)
            # While Redis is away nothing can be published either; the lease is looked at when it is back.
            with contextlib.suppress(BusError):
                if await self._store.keep_first(self._name, self._me, LEASE_S) == self._me:
                    await self._store.set(self._name, self._me, LEASE_S)
                else:
                    lost.set()

    def _is_gone(self, holder: str) -> bool:
        """Tell whether a process of this machine has ended; a restart need not wait for its lease to run out."""
        machine, _, process = holder.rpartition(":")
        if machine != socket.gethostname() or not process.isdecimal():
            return False
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return int(process) == os.getpid()
