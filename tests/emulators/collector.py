"""A collector of traces: takes OTLP over HTTP as the OpenTelemetry Collector does, and keeps what it is sent."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One span as it was received."""

    name: str
    trace: str
    id: str
    parent: str
    """Empty for the first of a trace."""
    began_ns: int
    ended_ns: int
    error: str
    attributes: dict[str, Any]
    roles: str
    """Of the process that sent it."""


class Collector:
    """Listens on a free port of this machine; `status` is what it answers, `hold` lets it never answer."""

    def __init__(self) -> None:
        self.spans: list[Recorded] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.hold = False
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def endpoint(self) -> str:
        """Where spans are sent to."""
        return f"http://127.0.0.1:{self.port}/v1/traces"

    async def until(self, claim: Callable[[list[Recorded]], bool], timeout_s: float = 30.0) -> list[Recorded]:
        """Wait until the spans that came fulfil a claim; gives them."""
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: claim(self.spans))
        except TimeoutError:
            told = "\n".join(
                f"{span.trace[:8]} {span.roles} {span.name} {span.attributes}" for span in self.spans
            )
            raise AssertionError(f"the spans are:\n{told}") from None
        return list(self.spans)

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.hold:
            await asyncio.Event().wait()
        if self.status != 200:
            return web.Response(status=self.status)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.bodies.append(body)
        async with self._changed:
            self.spans += _spans(body)
            self._changed.notify_all()
        return web.Response(body=b"", content_type="application/x-protobuf")

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/traces", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._runner
        await self._runner.cleanup()


def _spans(body: bytes) -> list[Recorded]:
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    return [
        Recorded(
            name=span.name,
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            began_ns=span.start_time_unix_nano,
            ended_ns=span.end_time_unix_nano,
            error=span.status.message if span.status.code == 2 else "",
            attributes={one.key.removeprefix("hubbub."): _value(one.value) for one in span.attributes},
            roles=next(
                one.value.string_value for one in group.resource.attributes if one.key == "hubbub.roles"
            ),
        )
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))
