"""The http channel: a program posts what a person wrote, and is called with the reply."""

import asyncio
import math
from collections.abc import Mapping
from typing import Annotated, Any

import aiohttp
import orjson
import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, ValidationError

from connectors.base import Progress, Publish
from connectors.http import signing
from connectors.http.payloads import IncomingMessage, OutgoingReply
from connectors.parts import ConnectorParts
from hub.api.body import NotStrict, strict_json
from hub.errors import BusError, BusFull, DeliveryRefused, RetryLater, SettingsError
from hub.http_body import BodyRefused, read_body
from hub.http_client import connection_fault, retry_after_s
from hub.messages import InboundMessage, OutboundMessage

log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 65_536
READ_TIMEOUT_S = 10.0
LANE_FULL_RETRY_S = 60
RETRY_S = 5.0
_BUSY = frozenset({408, 425, 429})


class HttpSettings(BaseModel):
    """The table `[connectors.NAME]` of this connector."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str = "http"
    secret: Annotated[SecretStr, Field(min_length=16)]
    """Known to the hub and the program; both sign with it."""
    callback_url: HttpUrl
    """Called with each reply."""
    timeout_s: Annotated[float, Field(gt=0)] = 15.0
    """For one call."""
    give_up_s: Annotated[float, Field(gt=0)] = 86_400.0
    """A reply is retried for so long while the program cannot be reached."""


def make(table: Mapping[str, Any], parts: ConnectorParts) -> "HttpConnector":
    """Make the connector from its table.

    Raises: SettingsError: a setting is wrong or missing.
    """
    try:
        settings = HttpSettings.model_validate(dict(table))
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        told = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
        raise SettingsError(f"[connectors.{parts.name}] is wrong: {told}") from None
    return HttpConnector(parts.name, settings)


class HttpConnector:
    """Takes signed requests in, and makes signed requests."""

    def __init__(self, name: str, settings: HttpSettings) -> None:
        self.name = name
        self.give_up_s = settings.give_up_s
        self._settings = settings
        self._secret = settings.secret.get_secret_value().encode()
        self._publish: Publish | None = None

    @property
    def path(self) -> str:
        """Where messages are posted to."""
        return f"/api/v1/hooks/{self.name}"

    def routes(self) -> list[web.RouteDef]:
        """Return the route that takes messages."""
        return [web.post(self.path, self._take)]

    async def run(self, publish: Publish) -> None:
        """Take messages in until cancelled; before and after, requests are asked to come back."""
        self._publish = publish
        try:
            await asyncio.Event().wait()
        finally:
            self._publish = None

    async def send(self, message: OutboundMessage, progress: Progress) -> None:
        """Call the program with one reply; it knows a repeated one by its id."""
        if 0 in progress.placed_parts or message.kind == "cancelled":
            return
        body = orjson.dumps(OutgoingReply.of(message).model_dump(mode="json"))
        headers = {
            **signing.sign(self._secret, body),
            "Content-Type": "application/json",
            "Idempotency-Key": message.reply_id,
        }
        await progress.begin(0)
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout_s)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as client,
                client.post(
                    str(self._settings.callback_url), data=body, headers=headers, allow_redirects=False
                ) as answer,
            ):
                _check(answer)
        except aiohttp.ClientConnectorError as error:
            raise RetryLater(RETRY_S, f"the program cannot be reached: {connection_fault(error)}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RetryLater(
                RETRY_S, f"the program did not answer: {connection_fault(error)}", unclear=True
            ) from error
        await progress.placed(0, message.reply_id)

    async def _take(self, request: web.Request) -> web.Response:
        try:
            body = await read_body(request, max_bytes=MAX_BODY_BYTES, timeout_s=READ_TIMEOUT_S)
        except BodyRefused as refused:
            return _refusal(refused.status)
        if not signing.is_signed(
            self._secret,
            body,
            timestamp=request.headers.get(signing.TIMESTAMP_HEADER, ""),
            signature=request.headers.get(signing.SIGNATURE_HEADER, ""),
        ):
            return _refusal(401)
        try:
            message = IncomingMessage.model_validate(strict_json(body)).inbound(self.name)
        except NotStrict as error:
            return _refusal(400, f"the body is no JSON this server takes: {error}")
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            return _refusal(422, f"{'.'.join(map(str, first['loc']))[:100]}: {first['msg']}")
        if not message.text:
            return _refusal(422, "text: holds nothing that can be read")
        return await self._hand_in(message)

    async def _hand_in(self, message: InboundMessage) -> web.Response:
        if self._publish is None:
            return _come_back(503, RETRY_S)
        try:
            accepted = await self._publish(message)
        except BusFull as error:
            return _come_back(503, error.retry_after_s)
        except BusError as error:
            log.warning("message_not_published", connector=self.name, reason=str(error))
            return _come_back(503, RETRY_S)
        if accepted.lane_full:
            return _come_back(429, LANE_FULL_RETRY_S)
        return web.json_response(
            {"turn": accepted.turn, "duplicate": accepted.duplicate, "wait_s": round(accepted.wait_s, 1)},
            status=202,
        )


def _check(answer: aiohttp.ClientResponse) -> None:
    """Take 2xx for delivered, what may pass for later, and the rest for the program's last word."""
    if 200 <= answer.status < 300:
        return
    if answer.status in _BUSY or answer.status >= 500:
        wait_s = retry_after_s(answer.headers.get("Retry-After", "")) or RETRY_S
        raise RetryLater(wait_s, f"the program answered {answer.status}")
    raise DeliveryRefused(f"the program answered {answer.status}")


def _refusal(status: int, detail: str = "") -> web.Response:
    response = web.json_response({"error": detail or web.Response(status=status).reason}, status=status)
    response.force_close()
    return response


def _come_back(status: int, retry_after_s: float) -> web.Response:
    return web.json_response(
        {"error": "please try again later"},
        status=status,
        headers={"Retry-After": str(max(1, math.ceil(retry_after_s)))},
    )
