"""One endpoint of a remote model: asks it, within deadlines and again where that is harmless."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing

import aiohttp
from yarl import URL

from engine.models.remote import refusals
from engine.models.remote.breaker import Breaker
from engine.models.remote.connection import below, key_header
from engine.models.remote.refusals import EndpointFailed
from engine.models.remote.sse import EventReader, TooLong
from engine.models.remote.wire import NotThisProtocol, Piece, Request, ServerSaid, read_event
from hub.http_client import connection_fault
from hub.model_settings import RemoteSettings

FIRST_PAUSE_S = 0.25
"""Before the second attempt; it doubles with each further one."""
_DONE = b"[DONE]"
USAGE_TIMEOUT_S = 2.0
"""Longest wait for what an answer cost, once the answer is there."""


class Endpoint:
    """One address where the model can be asked.

    Args:
        base_url: such as `http://127.0.0.1:11434/v1`.
        settings: deadlines, attempts and the key.
        session: connections; redirects are not followed, and what is compressed is not unpacked.
    """

    def __init__(self, base_url: URL, settings: RemoteSettings, session: aiohttp.ClientSession) -> None:
        self.host = f"{base_url.host}:{base_url.port}"
        self.breaker = Breaker()
        self._url = base_url
        self._settings = settings
        self._session = session

    async def answer(self, request: Request) -> AsyncGenerator[Piece]:
        """Yield the pieces of an answer; as long as no text has come it is asked again.

        Closing the iterator closes the connection.

        Raises:
            EndpointFailed: no attempt led to an answer, or an answer broke off.
            ModelError: the request itself is refused; no other endpoint would take it.
        """
        deadline = _now() + self._settings.first_token_timeout_s
        try:
            for attempt in range(1, self._settings.attempts + 1):
                has_text = False
                try:
                    async with aclosing(self._attempt(request, deadline)) as pieces:
                        async for piece in pieces:
                            has_text = has_text or bool(piece.text)
                            self.breaker.succeeded()
                            yield piece
                    return
                except EndpointFailed as error:
                    if has_text:
                        raise
                    pause_s = max(error.retry_after_s, _pause_s(attempt))
                    is_last = attempt == self._settings.attempts or _now() + pause_s >= deadline
                    if is_last or not error.may_pass:
                        self._judge(error)
                        raise
                    await asyncio.sleep(pause_s)
        except EndpointFailed:
            raise
        except BaseException:
            # Refused, or given up by who asked: that says nothing against the endpoint.
            self.breaker.release()
            raise

    def _judge(self, error: EndpointFailed) -> None:
        if error.may_pass:
            self.breaker.failed(error.retry_after_s)
        else:
            self.breaker.release()

    async def _attempt(self, request: Request, deadline: float) -> AsyncGenerator[Piece]:
        try:
            response = await self._open(request, deadline)
        except TimeoutError as error:
            raise EndpointFailed(self._late(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise EndpointFailed(f"{self.host} cannot be asked: {connection_fault(error)}") from error
        try:
            async with aclosing(self._pieces(response, deadline)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            # Where the answer is not at its end this cuts the connection, which tells the server to stop.
            response.close()

    async def _open(self, request: Request, deadline: float) -> aiohttp.ClientResponse:
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        async with asyncio.timeout_at(deadline):
            response = await self._session.post(
                below(self._url, request.path),
                data=request.body,
                headers=headers | key_header(self._settings),
                allow_redirects=False,
            )
            try:
                await refusals.check(response, self.host, self._settings)
            except BaseException:
                response.close()
                raise
        return response

    async def _pieces(self, response: aiohttp.ClientResponse, deadline: float) -> AsyncGenerator[Piece]:
        stall_s = self._settings.stall_timeout_s
        limit, has_begun, is_finished = deadline, False, False
        reader = EventReader()
        while True:
            try:
                async with asyncio.timeout_at(limit):
                    chunk = await response.content.readany()
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                if is_finished:
                    return
                raise self._broken(error, has_begun=has_begun) from error
            pieces, is_over, fault = _read(reader, chunk)
            for piece in pieces:
                has_begun = has_begun or bool(piece.text) or piece.is_thought
                is_finished = is_finished or bool(piece.finish)
                yield piece
            if is_finished and (is_over or fault):
                return
            if fault:
                raise self._broken(fault, has_begun=has_begun) from fault
            if is_over:
                raise EndpointFailed(f"{self.host} ended its answer in the middle, without a finish_reason")
            if is_finished:
                limit = _now() + min(stall_s, USAGE_TIMEOUT_S)
            elif has_begun and pieces:
                limit = _now() + stall_s

    def _late(self, error: TimeoutError) -> str:
        settings = self._settings
        if isinstance(error, aiohttp.ServerTimeoutError):
            return f"{self.host} took no connection within {settings.connect_timeout_s:g} s"
        return f"{self.host} gave no first word within {settings.first_token_timeout_s:g} s"

    def _broken(self, error: Exception, *, has_begun: bool) -> EndpointFailed:
        host = self.host
        match error:
            case ServerSaid():
                return EndpointFailed(f"{host} failed and said: {refusals.shown(str(error), self._settings)}")
            case NotThisProtocol():
                return EndpointFailed(f"{host} sent {error}; expected is an OpenAI-compatible event stream")
            case TooLong():
                return EndpointFailed(f"{host} sent more than an event or an answer of any model may hold")
            case TimeoutError() if has_begun:
                return EndpointFailed(
                    f"{host} fell silent for {self._settings.stall_timeout_s:g} s in the middle of an answer"
                )
            case TimeoutError():
                return EndpointFailed(self._late(error))
            case _:
                return EndpointFailed(f"{host} broke off its answer: {connection_fault(error)}")


def _read(reader: EventReader, chunk: bytes) -> tuple[list[Piece], bool, ValueError | None]:
    """Return the pieces in a chunk, whether the answer is over with it, and what is wrong with the rest."""
    pieces: list[Piece] = []
    try:
        for event in reader.feed(chunk):
            if (data := event.strip()) == _DONE:
                return pieces, True, None
            if data:
                pieces.append(read_event(data))
    except ValueError as error:
        return pieces, False, error
    return pieces, not chunk, None


def _pause_s(attempt: int) -> float:
    return FIRST_PAUSE_S * 2.0 ** (attempt - 1) * random.uniform(1.0, 1.5)  # noqa: S311 - only spreads load


def _now() -> float:
    return asyncio.get_running_loop().time()
