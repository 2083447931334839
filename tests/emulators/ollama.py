"""An Ollama server on a loopback port, as docs/api.md of Ollama describes it; faults on demand."""

import asyncio
from types import TracebackType
from typing import Any

import orjson
from aiohttp import web

LAYERS = {"sha256:aaaa": 2_019_377_376, "sha256:bbbb": 1_429}


class OllamaServer:
    """Holds some models, and pulls those that its library has."""

    def __init__(self, library: dict[str, dict[str, Any]]) -> None:
        self.library = library
        """What `api/show` says, by name."""
        self.pulled: list[str] = []
        self.asked: list[tuple[str, Any]] = []
        self.lines: list[bytes] | None = None
        """What is sent instead of the progress of a pull."""
        self.gate: asyncio.Event | None = None
        """Holds a pull in its middle until it is set."""

    async def __aenter__(self) -> "OllamaServer":
        app = web.Application()
        app.router.add_get("/api/tags", self._tags)
        app.router.add_post("/api/show", self._show)
        app.router.add_post("/api/pull", self._pull)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _tags(self, request: web.Request) -> web.Response:
        details = {
            "format": "gguf",
            "family": "llama",
            "parameter_size": "1.2B",
            "quantization_level": "Q8_0",
        }
        models = [
            {
                "name": name,
                "modified_at": "2026-11-04T14:56:49.277302595-07:00",
                "size": sum(LAYERS.values()),
                "digest": "9f438cb9cd581fc025612d27f7c1a6669ff83a8bb0ed86c94fcf4c5440555697",
                "details": details,
            }
            for name in self.pulled
        ]
        return web.json_response({"models": models})

    async def _show(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        self.asked.append(("show", body))
        if body["model"] not in self.pulled:
            return web.json_response({"error": f"model '{body['model']}' not found"}, status=404)
        return web.json_response(self.library[body["model"]])

    async def _pull(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        self.asked.append(("pull", body))
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for line in self.lines if self.lines is not None else self._progress(body["model"]):
            await response.write(line)
            if self.gate and b"completed" in line:
                await self.gate.wait()
        return response

    def _progress(self, model: str) -> list[bytes]:
        steps: list[dict[str, Any]] = [{"status": "pulling manifest"}]
        if model not in self.library:
            steps.append({"error": "pull model manifest: file does not exist"})
            return [orjson.dumps(step) + b"\n" for step in steps]
        for digest, size in LAYERS.items():
            about = {"status": f"pulling {digest[7:]}", "digest": digest, "total": size}
            steps += [about, about | {"completed": size // 2}, about | {"completed": size}]
        steps += [
            {"status": "verifying sha256 digest"},
            {"status": "writing manifest"},
            {"status": "success"},
        ]
        self.pulled.append(model)
        return [orjson.dumps(step) + b"\n" for step in steps]
