"""The webhook: who calls is checked before a byte of the body is read, and 200 is said only after publishing."""

import asyncio
import hmac
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog
from aiohttp import web

from connectors.telegram.ports import Quarantine
from connectors.telegram.strict_json import Unreadable
from hub.api.addresses import Network, client_address, within
from hub.errors import BusError, BusFull
from hub.http_body import BodyRefused, read_body

log = structlog.get_logger(__name__)

PATH = "/api/v1/webhooks/telegram"
SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105
MAX_BODY_BYTES = 1_048_576
READ_TIMEOUT_S = 5.0
PUBLISH_TIMEOUT_S = 50.0
"""Enough for a document and an album before it; below the 60 s after which Telegram hangs up."""
RETRY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Callers:
    """Addresses that may call the webhook; the secret is needed all the same."""

    networks: Sequence[Network] = ()
    """Empty: every one."""
    trusted_proxies: Sequence[Network] = ()
    """Whose `X-Forwarded-For` is believed."""

    def may_call(self, request: web.BaseRequest) -> bool:
        """Tell whether a request comes from one of the networks."""
        if not self.networks:
            return True
        address = client_address(request, self.trusted_proxies)
        return address is not None and within(address, self.networks)


class Webhook:
    """Takes updates in from Telegram.

    Args:
        secret: what Telegram sends along in each request.
        take: parses and publishes one body; raises Unreadable or BusError.
        quarantine: gets what is unreadable.
        callers: who may call.
    """

    def __init__(
        self,
        secret: str,
        take: Callable[[bytes], Awaitable[None]],
        quarantine: Quarantine,
        callers: Callers,
    ) -> None:
        self._secret = secret.encode()
        self._take = take
        self._quarantine = quarantine
        self._callers = callers

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one delivery."""
        if request.content_length is not None and request.content_length > MAX_BODY_BYTES:
            return _refusal(413)
        if not self._callers.may_call(request) or not self._is_telegram(request):
            return _refusal(401)
        if request.headers.get("Content-Encoding", "identity") != "identity":
            return _refusal(415)
        try:
            body = await read_body(request, max_bytes=MAX_BODY_BYTES, timeout_s=READ_TIMEOUT_S)
        except BodyRefused as refused:
            return _refusal(refused.status)
        return await self._accept(body)

    async def _accept(self, body: bytes) -> web.Response:
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                try:
                    await self._take(body)
                except Unreadable as error:
                    log.warning("update_quarantined", reason=str(error), size_bytes=len(body))
                    await self._quarantine("telegram", str(error), body)
        except BusFull as error:
            return _come_back(error.retry_after_s)
        except (BusError, TimeoutError) as error:
            log.warning("update_not_published", reason=str(error) or type(error).__name__)
            return _come_back(RETRY_S)
        # Telegram carries out a method named in this body: never put anything of a person into it.
        return web.json_response({})

    def _is_telegram(self, request: web.Request) -> bool:
        given = request.headers.getall(SECRET_HEADER, [])
        if len(given) != 1:
            return False
        return hmac.compare_digest(given[0].encode("utf-8", "surrogateescape"), self._secret)


def _refusal(status: int) -> web.Response:
    response = web.Response(status=status)
    response.force_close()
    return response


def _come_back(retry_after_s: float) -> web.Response:
    return web.Response(status=503, headers={"Retry-After": str(max(math.ceil(retry_after_s), 1))})
