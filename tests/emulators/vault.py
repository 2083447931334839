"""A small server that speaks what HashiCorp Vault's KV engine, version 2, and AppRole speak on the wire.

In a test: `async with Vault() as vault: ...`, or `with Vault.in_thread() as vault: ...` where no event loop runs.
Source: Vault's HTTP API documentation, "KV - Secrets Engines, version 2", "AppRole", "Namespaces", "HTTP status codes".
"""

import asyncio
import contextlib
import secrets
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web


def _errors(status: int, *texts: str) -> web.Response:
    return web.json_response({"errors": list(texts)}, status=status)


async def _in_two(request: web.Request, answer: web.Response) -> web.StreamResponse:
    assert isinstance(answer.body, bytes)
    half = len(answer.body) // 2
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(answer.body[:half])
    await asyncio.sleep(0.1)
    await response.write(answer.body[half:])
    return response


@dataclass(kw_only=True)
class Vault:
    """One server with secrets by namespace, mount and path."""

    token: str = field(default_factory=lambda: f"hvs.{secrets.token_urlsafe(24)}")
    role_id: str = field(default_factory=lambda: secrets.token_hex(16))
    secret_id: str = field(default_factory=lambda: secrets.token_hex(16))
    tls: ssl.SSLContext | None = None
    secrets: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    """Paths whose latest version was deleted."""
    is_sealed: bool = False
    redirects_to: str = ""
    """As a standby answers that does not forward."""
    status: int = 0
    """Answers everything with this one."""
    is_slow: bool = False
    """Sends what it has read in two packets, some time apart."""
    port: int = 0
    requests: list[str] = field(default_factory=list)
    """Paths that were asked for, in order."""

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def put(self, path: str, values: dict[str, Any], *, mount: str = "secret", namespace: str = "") -> None:
        """Keep a secret."""
        self.secrets[namespace, mount, path] = values

    async def __aenter__(self) -> Self:
        """Listen."""
        app = web.Application()
        app.router.add_route("*", "/v1/{path:.+}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls).start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self._runner.cleanup()

    @contextlib.contextmanager
    def in_thread(self) -> Iterator[Self]:
        """Listen on an event loop of its own."""
        started, stop = threading.Event(), asyncio.Event()
        loop = asyncio.new_event_loop()

        async def serve() -> None:
            async with self:
                started.set()
                await stop.wait()

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
        thread.start()
        try:
            assert started.wait(10)
            yield self
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        self.requests.append(f"{request.method} {path}")
        if self.status:
            return web.Response(
                status=self.status, text="<html>Token: " + request.headers.get("X-Vault-Token", "")
            )
        if self.is_sealed:
            return _errors(503, "Vault is sealed")
        if self.redirects_to:
            return web.Response(status=307, headers={"Location": f"{self.redirects_to}/v1/{path}"})
        if path == "auth/approle/login" and request.method == "POST":
            return await self._log_in(request)
        if not secrets.compare_digest(request.headers.get("X-Vault-Token", ""), self.token):
            return _errors(403, "permission denied")
        answer = self._read(path, request.headers.get("X-Vault-Namespace", ""))
        return await _in_two(request, answer) if self.is_slow else answer

    async def _log_in(self, request: web.Request) -> web.Response:
        body = await request.json()
        if (body.get("role_id"), body.get("secret_id")) != (self.role_id, self.secret_id):
            return _errors(400, "invalid role or secret ID")
        auth = {"client_token": self.token, "accessor": "a", "policies": ["hubbub"], "lease_duration": 1200}
        return web.json_response({"request_id": "r", "data": None, "auth": auth | {"renewable": True}})

    def _read(self, path: str, namespace: str) -> web.Response:
        mount, _, name = path.partition("/data/")
        values = self.secrets.get((namespace, mount, name))
        if values is None:
            return _errors(404)
        metadata = {
            "created_time": "2026-01-01T00:00:00Z",
            "custom_metadata": None,
            "destroyed": False,
            "version": 1,
        }
        if name in self.deleted:
            metadata |= {"deletion_time": "2026-01-02T00:00:00Z"}
            return web.json_response({"data": {"data": None, "metadata": metadata}}, status=404)
        data = {"data": values, "metadata": metadata | {"deletion_time": ""}}
        return web.json_response(
            {"request_id": "r", "lease_id": "", "renewable": False, "data": data, "auth": None}
        )
