"""A chat model that another server runs: Ollama, vLLM, llama-server, Ray Serve or another hub."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import aiohttp
import structlog

from engine.models.base import (
    ANYBODY,
    ChatMessage,
    GenerateEvent,
    GenerateOptions,
    ModelStatistics,
    Prompt,
    Requester,
    Text,
)
from engine.models.remote.answer import Answer, Ledger
from engine.models.remote.connection import addresses, open_session
from engine.models.remote.endpoint import Endpoint
from engine.models.remote.estimate import estimate_messages, estimate_text
from engine.models.remote.refusals import EndpointFailed
from engine.models.remote.wire import Piece, Request, make_request
from hub.errors import ContextWindowExceeded, ModelError
from hub.model_settings import RemoteSettings

log = structlog.get_logger(__name__)


class RemoteChatModel:
    """Asks the endpoints of one model, the first that is in order.

    Tokens are estimated, since the vocabulary lies on the other server: `count_tokens` rather tells too many than too
    few, and `End` tells what the server counted, where it tells it. That text of people cannot open or close a message
    is up to the template of that server.
    """

    def __init__(
        self,
        name: str,
        settings: RemoteSettings,
        session: aiohttp.ClientSession,
        endpoints: Sequence[Endpoint],
    ) -> None:
        self.name = name
        self.context_length = settings.context_length
        self._settings = settings
        self._session = session
        self._endpoints = tuple(endpoints)
        self._ledger = Ledger()

    @classmethod
    async def load(cls, name: str, settings: RemoteSettings) -> "RemoteChatModel":
        """Get ready to ask; no endpoint is asked yet.

        Raises: SettingsError: an entry of `base_urls` is not the address of an HTTP server, or the key is none.
        """
        urls = addresses(name, settings)
        session = open_session(settings)
        return cls(name, settings, session, [Endpoint(url, settings, session) for url in urls])

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Estimate the tokens of a prompt, template included."""
        return estimate_messages(messages)

    async def stream(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
    ) -> AsyncGenerator[GenerateEvent]:
        """Generate the assistant's next message, piece by piece; the requester is not told to the server."""
        size = self.count_tokens(prompt.messages) if prompt.messages else estimate_text(prompt.text)
        if size + options.max_tokens > self.context_length:
            raise ContextWindowExceeded(self.context_length, size + options.max_tokens)
        request = make_request(self._settings.model, prompt, options)
        answer = Answer(options, size)
        with self._ledger.running():
            async with aclosing(self._pieces(request)) as pieces:
                async for piece in pieces:
                    if text := answer.take(piece):
                        yield Text(text=text)
                    if answer.is_stopped:
                        break
            if text := answer.finish():
                yield Text(text=text)
            end = answer.end()
            self._ledger.count(end)
        yield end

    async def statistics(self) -> ModelStatistics:
        """Tell what it does."""
        return self._ledger.statistics()

    async def close(self) -> None:
        """Close the connections once running answers have ended, or were given up without being closed."""
        try:
            async with asyncio.timeout(self._settings.stall_timeout_s):
                await self._ledger.idle.wait()
        except TimeoutError:
            log.warning("answers_cut", model=self.name)
        await self._session.close()

    async def _pieces(self, request: Request) -> AsyncGenerator[Piece]:
        failure: EndpointFailed | None = None
        for endpoint in self._endpoints:
            if not endpoint.breaker.admit():
                continue
            has_text = False
            try:
                async with aclosing(endpoint.answer(request)) as pieces:
                    async for piece in pieces:
                        has_text = has_text or bool(piece.text)
                        yield piece
            except EndpointFailed as error:
                log.warning("endpoint_failed", model=self.name, host=endpoint.host, error=str(error))
                if has_text:
                    raise
                failure = error
            else:
                return
        raise failure or ModelError(self._all_left_alone())

    def _all_left_alone(self) -> str:
        hosts = ", ".join(endpoint.host for endpoint in self._endpoints)
        wait_s = min(endpoint.breaker.wait_s for endpoint in self._endpoints)
        return f"{hosts} failed a moment ago and is left alone for {wait_s:.0f} s more"
