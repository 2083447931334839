"""uvloop under the guard: it looks names up and connects in C, which Python's audit events do not tell of."""

import socket
from collections.abc import Callable
from typing import Any

import uvloop

from hub.egress.guard import present


class GuardedLoop(uvloop.Loop):
    """The event loop of the hub's processes."""

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        """Look a name up where the guard allows it; it learns what was found."""
        guard = present()
        if not guard or not host:
            return await super().getaddrinfo(host, port, **options)
        name = host.decode("ascii") if isinstance(host, bytes) else host
        guard.look_up(name, port if isinstance(port, int) else 0)
        found = await super().getaddrinfo(host, port, **options)
        guard.learn(name, (str(entry[4][0]) for entry in found))
        return found

    async def create_connection(
        self,
        protocol_factory: Callable[[], Any],
        host: Any = None,
        port: Any = None,
        **options: Any,
    ) -> Any:
        """Connect to the first address of a name that answers, where the guard allows it."""
        guard = present()
        if not guard or not host:
            return await super().create_connection(protocol_factory, host, port, **options)
        kind = {name: options[name] for name in ("family", "proto", "flags") if name in options}
        found = await self.getaddrinfo(host, port, type=socket.SOCK_STREAM, **kind)
        if options.get("ssl") and options.get("server_hostname") is None:
            options["server_hostname"] = host
        failure: OSError | None = None
        for address in dict.fromkeys(str(entry[4][0]) for entry in found):
            try:
                guard.reach(address, port)
                return await super().create_connection(protocol_factory, address, port, **options)
            except OSError as error:
                failure = failure or error
        raise failure or OSError(f"{host} has no address")

    async def create_datagram_endpoint(
        self,
        protocol_factory: Callable[[], Any],
        local_addr: Any = None,
        remote_addr: Any = None,
        **options: Any,
    ) -> Any:
        """Open an endpoint to one address; one without could send anywhere, unseen."""
        if guard := present():
            host, port = remote_addr[:2] if isinstance(remote_addr, tuple) else ("any-datagram", 0)
            guard.reach(host, port)
        return await super().create_datagram_endpoint(protocol_factory, local_addr, remote_addr, **options)


def new_event_loop() -> GuardedLoop:
    """Return a new event loop."""
    return GuardedLoop()
