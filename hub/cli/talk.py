"""`ask` and `chat`: a conversation in the terminal, over the same bus as every other channel."""

import asyncio
import contextlib
import io
import os
import secrets
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from rich.console import Console
from rich.markdown import Markdown

from hub.app import redis_url
from hub.bus.bus import Bus
from hub.bus.connection import connect_reader
from hub.cli.printing import print_json
from hub.errors import HubError
from hub.live import Live, LiveEvent
from hub.messages import Address, InboundMessage, OutboundMessage, conversation_id
from hub.settings import Settings
from hub.text import normalise

ACCOUNT = "terminal"
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells expect it."""


def ask_once(settings: Settings, question: str, *, as_json: bool) -> None:
    """Ask one question and print the answer."""

    async def main() -> OutboundMessage:
        async with _Terminal(settings) as terminal:
            return await terminal.ask(question)

    answer = asyncio.run(main())
    if as_json:
        _print(answer)
    else:
        _show(answer)


def chat_with_program(settings: Settings) -> None:
    """Answer each line of the input with a line of JSON, in one conversation, until the input ends.

    Raises: HubError: no hub runs on these settings, or an answer does not come.
    """
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")

    async def main() -> None:
        async with _Terminal(settings) as terminal:
            while line := await _read(sys.stdin.readline):
                if question := line.strip():
                    _print(await terminal.ask(question))

    _run_until_interrupted(main())


def chat_until_end(settings: Settings) -> None:
    """Ask and answer until the input ends."""

    async def main() -> None:
        console = Console()
        console.print("Ask anything; an empty line or Ctrl-D ends.", style="dim")
        async with _Terminal(settings) as terminal:
            while question := await _read(lambda: input("> ").strip()):
                with console.status("thinking"):
                    answer = await terminal.ask(question)
                _show(answer)

    _run_until_interrupted(main())


def _run_until_interrupted(talk: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(talk)
    except KeyboardInterrupt:
        # The thread that waits for a line still holds standard input, and an ordinary exit breaks on that.
        sys.stdout.flush()
        os._exit(INTERRUPTED)


async def _read(next_line: Callable[[], str]) -> str:
    """Return the next line; empty when there is none.

    Args:
        next_line: waits for it; the loop goes on meanwhile.
    """
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def hand_over(text: str) -> None:
        if not line.done():
            line.set_result(text)

    def wait_for_line() -> None:
        try:
            text = next_line()
        except EOFError:
            text = ""
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(hand_over, text)

    # No executor: the end of the loop would wait for its threads, and this one for a key.
    threading.Thread(target=wait_for_line, daemon=True).start()
    return await line


def _print(answer: OutboundMessage) -> None:
    sources = [source.model_dump() for source in answer.sources]
    shown = {"response": answer.text, "kind": answer.kind, "sources": sources, "turn": answer.turn}
    print_json(shown)


def _show(answer: OutboundMessage) -> None:
    console = Console()
    console.print(Markdown(answer.text))
    for source in answer.sources:
        heading = f" - {source.heading}" if source.heading else ""
        console.print(
            f"[{source.number}] {source.title}{heading} ({source.location})", style="dim", markup=False
        )


class _Terminal:
    """One conversation of this process with a running hub."""

    def __init__(self, settings: Settings) -> None:
        self._bus = Bus(redis_url(settings), settings.bus)
        self._live = Live(self._bus.redis, connect_reader(self._bus.url), shards=settings.bus.shards)
        self._timeout_s = settings.api.reply_timeout_s
        self._session = secrets.token_hex(8)

    async def __aenter__(self) -> "_Terminal":
        await self._bus.ping()
        self._tailing = asyncio.create_task(self._live.run(asyncio.Event()))
        await asyncio.wait_for(self._live.ready.wait(), 10)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._tailing.cancel()
        await asyncio.gather(self._tailing, return_exceptions=True)
        await self._bus.close()

    async def ask(self, question: str) -> OutboundMessage:
        """Send a question and wait for the reply.

        Raises: HubError: it did not arrive in time, or the message was refused.
        """
        conversation = conversation_id("api", ACCOUNT, self._session)
        message = InboundMessage(
            external_key=f"api:{ACCOUNT}:{secrets.token_hex(16)}",
            conversation=conversation,
            address=Address(connector="api", account=ACCOUNT, chat=self._session, person=ACCOUNT),
            text=normalise(question),
        )
        async with self._live.listen(conversation) as events:
            published = await self._bus.publish(message)
            if published.status not in ("OK", "DUPLICATE"):
                raise HubError("the hub is busy; please try again in a moment")
            try:
                return await asyncio.wait_for(_final(events, published.entry), self._timeout_s)
            except TimeoutError:
                raise HubError(
                    f"no answer within {self._timeout_s:.0f} s; is the hub running? `hubbub doctor` tells more"
                ) from None


async def _final(events: AsyncIterator[LiveEvent], turn: str) -> OutboundMessage:
    async for event in events:
        if event.kind == "final" and event.turn == turn and event.message:
            return event.message
    raise HubError("the live stream ended")
