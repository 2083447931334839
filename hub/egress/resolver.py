"""Name look-up of HTTP clients that connect for one purpose alone."""

import asyncio
import socket

from aiohttp.abc import AbstractResolver, ResolveResult


class GuardedResolver(AbstractResolver):
    """Looks names up in a thread that knows what it is for; the event loop's own would not."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Look a name up.

        Raises: OSError: it is not known, or no setting allows it.
        """
        found = await asyncio.to_thread(
            socket.getaddrinfo, host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(entry[4][0]),
                port=port,
                family=entry[0],
                proto=entry[2],
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for entry in found
        ]

    async def close(self) -> None:
        """Nothing is held."""
