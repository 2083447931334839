"""A Hugging Face style hub on a loopback port, with faults on demand.

It speaks what the Hub's OpenAPI description says of `/api/models/{repo}/revision/{rev}`, `/api/models/{repo}/tree/{rev}`
and `/{repo}/resolve/{rev}/{path}`; large files are redirected to another host, as the Hub does.
"""

import asyncio
import hashlib
from collections import Counter
from types import TracebackType
from typing import Any

from aiohttp import web

COMMIT = "8f2b6c0d1e4a5f7089ab3c2d1e0f9a8b7c6d5e4f"
REPO = "maker/small-GGUF"
WEIGHTS = (".gguf", ".safetensors", ".onnx", ".bin", ".pt", ".data")

SIGNATURE = "disposition=attachment%3B%20filename%3D%22a%7Eb%22&sig=a%2Bb%2Fc~d%3D"
"""Spelt as no library would; whoever spells it anew is refused."""


class ModelHub:
    """One repository.

    Args:
        files: by path; names may be as hostile as a test wants.
        token: that everything needs; empty needs none.
    """

    def __init__(self, files: dict[str, bytes], *, repo: str = REPO, token: str = "") -> None:
        self.files = files
        self.repo = repo
        self.token = token
        self.page_size = 1000
        self.breaks: list[int] = []
        """After so many bytes the connection is cut; one for each answer with a file."""
        self.statuses: list[tuple[int, dict[str, str]]] = []
        """What the next requests are answered with instead."""
        self.sent: dict[str, bytes] = {}
        """What is sent instead of a file's real bytes."""
        self.announced: dict[str, dict[str, Any]] = {}
        """What the list says instead about a file."""
        self.knows_ranges = True
        self.gate: asyncio.Event | None = None
        """Holds files back in their middle until it is set."""
        self.asked: Counter[str] = Counter()
        self.ranges: list[str] = []
        self.authorizations: list[tuple[str, str]] = []
        """Host and what it was shown."""
        self.is_waiting = asyncio.Event()
        """Set once a file was held back."""

    async def __aenter__(self) -> "ModelHub":
        app = web.Application(middlewares=[self._misbehave])
        app.router.add_get("/api/models/{repo:.+}/revision/{revision}", self._about)
        app.router.add_get("/api/models/{repo:.+}/tree/{revision}", self._tree)
        app.router.add_get("/cdn/{path:.+}", self._bytes)
        app.router.add_get("/{repo:.+}/resolve/{revision}/{path:.+}", self._resolve)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.endpoint = f"http://127.0.0.1:{self._port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.gate:
            self.gate.set()
        await self._runner.cleanup()

    @web.middleware
    async def _misbehave(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked[request.path.rpartition("/")[2]] += 1
        self.authorizations.append((request.host, request.headers.get("Authorization", "")))
        if self.statuses:
            status, headers = self.statuses.pop(0)
            return web.Response(status=status, headers=headers)
        is_here = request.path.startswith("/cdn/")
        if self.token and not is_here and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401)
        response: web.StreamResponse = await handler(request)
        return response

    async def _about(self, request: web.Request) -> web.Response:
        if request.match_info["repo"] != self.repo:
            return web.Response(status=404)
        return web.json_response({"id": self.repo, "sha": COMMIT, "siblings": []})

    async def _tree(self, request: web.Request) -> web.Response:
        assert request.query["recursive"] == "true"
        begin = int(request.query.get("cursor", 0))
        entries: list[Any] = [{"type": "directory", "path": "folder", "oid": "0" * 40, "size": 0}]
        entries += [self._entry(path, content) for path, content in self.files.items()]
        page = entries[begin : begin + self.page_size]
        headers = {}
        if begin + self.page_size < len(entries):
            following = f"{self.endpoint}{request.path}?recursive=true&cursor={begin + self.page_size}"
            headers["Link"] = f'<{following}>; rel="next"'
        return web.json_response(page, headers=headers)

    def _entry(self, path: str, content: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "type": "file",
            "path": path,
            "size": len(content),
            "oid": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(),
        }
        if path.endswith(WEIGHTS):
            entry["lfs"] = {
                "oid": hashlib.sha256(content).hexdigest(),
                "size": len(content),
                "pointerSize": 134,
            }
        return entry | self.announced.get(path, {})

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        if path not in self.files or request.match_info["revision"] != COMMIT:
            return web.Response(status=404)
        if not path.endswith(WEIGHTS):
            return await self._bytes(request)
        headers = {
            "Location": f"http://localhost:{self._port}/cdn/{path}?{SIGNATURE}",
            "X-Repo-Commit": COMMIT,
            "X-Linked-Size": str(len(self.files[path])),
            "X-Linked-Etag": f'"{hashlib.sha256(self.files[path]).hexdigest()}"',
        }
        return web.Response(status=302, headers=headers)

    async def _bytes(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        if request.path.startswith("/cdn/") and not request.raw_path.endswith(f"?{SIGNATURE}"):
            return web.Response(status=403)
        content = self.sent.get(path, self.files[path])
        wanted = request.headers.get("Range", "")
        self.ranges.append(wanted)
        begin = int(wanted.removeprefix("bytes=").removesuffix("-") or 0) if self.knows_ranges else 0
        response = web.StreamResponse(status=206 if wanted and self.knows_ranges else 200)
        response.content_length = len(content) - begin
        if response.status == 206:
            response.headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        await response.prepare(request)
        end = begin + self.breaks.pop(0) if self.breaks else len(content)
        if self.gate and not self.gate.is_set():
            half = (begin + len(content)) // 2
            await response.write(content[begin:half])
            self.is_waiting.set()
            await self.gate.wait()
            begin = half
        for at in range(begin, min(end, len(content)), 1 << 16):
            await response.write(content[at : min(at + (1 << 16), end)])
        if end < len(content) and request.transport:
            request.transport.abort()
        return response
