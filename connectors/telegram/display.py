"""What a chat sees while its answer is generated: "typing", and in private chats a growing draft.

All of it is a courtesy. Whatever fails here is logged and forgotten; the reply itself comes by the outbound stream.
"""

import asyncio
import contextlib
import zlib
from collections import deque
from dataclasses import dataclass, field

import structlog
from aiogram.methods import SendChatAction, SendMessageDraft

from connectors.live import Live, LiveEvent
from connectors.telegram.client import Client
from connectors.telegram.events import Place
from connectors.telegram.parts import split, to_entities
from connectors.telegram.phrases import phrases
from hub.errors import ConnectorError, DeliveryRefused

log = structlog.get_logger(__name__)

TYPING_S = 4.0
"""Telegram shows "typing" for 5 s. Source: https://core.telegram.org/bots/api#sendchataction."""
DRAFT_S = 20.0
"""A draft is shown for 30 s. Source: https://core.telegram.org/bots/api#sendmessagedraft."""
PATIENCE_S = 180.0
"""A chat stops showing "typing" so long after the last sign of life."""
MAX_CHATS = 20
"""Chats shown at once; with more, the calls would take the 30 a second that the replies themselves need."""
SETTLE_S = 2.0
CALL_TIMEOUT_S = 10.0


@dataclass(slots=True, kw_only=True)
class _Screen:
    """What one conversation sees."""

    conversation: str
    place: Place
    drafts: bool
    language: str
    touched: float
    turns: dict[str, None] = field(default_factory=dict)
    """Turns without a reply, oldest first."""
    in_place: set[str] = field(default_factory=set)
    """Turns whose replies take the place of earlier ones: a draft would stand beside them."""
    waits: dict[str, float] = field(default_factory=dict)
    """Of turns that others come before: when it is their turn, by the loop's clock."""
    turn: str = ""
    """The turn that is being generated."""
    text: str = ""
    shown: str = ""
    shown_at: float = 0.0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    calling: asyncio.Lock = field(default_factory=asyncio.Lock)
    task: asyncio.Task[None] | None = None


class Display:
    """Shows running turns; one task for each conversation that waits for a reply.

    Args:
        live: source of live text; None shows "typing" only.
        interval_s: least time between two drafts of a chat.
        drafts: whether private chats see the text grow.
    """

    def __init__(self, client: Client, live: Live | None, *, interval_s: float, drafts: bool) -> None:
        self._client = client
        self._live = live
        self._interval_s = interval_s
        self._drafts = drafts
        self._screens: dict[str, _Screen] = {}
        self._ended: deque[str] = deque(maxlen=1000)

    def begin(
        self,
        conversation: str,
        turn: str,
        place: Place,
        *,
        wait_s: float = 0,
        language: str = "",
        in_place: bool = False,
    ) -> None:
        """Show that a turn is being worked on, until `end` or the live text says that it is over.

        Args:
            wait_s: for how long others come first, by estimate.
            language: tag of the language in which a wait is told.
            in_place: whether the reply will take the place of an earlier one; "typing" is all that is shown then.
        """
        # A fast engine can have its reply sent before the publisher gets to this line.
        if turn in self._ended:
            return
        now = asyncio.get_running_loop().time()
        screen = self._screens.get(conversation)
        if screen is None:
            if len(self._screens) >= MAX_CHATS:
                return
            drafts = self._drafts and place.private
            screen = _Screen(
                conversation=conversation, place=place, drafts=drafts, language=language, touched=now
            )
            self._screens[conversation] = screen
            screen.task = asyncio.create_task(self._show(screen), name=f"display {conversation}")
        screen.touched = now
        screen.turns[turn] = None
        if in_place:
            screen.in_place.add(turn)
        if wait_s:
            screen.waits.setdefault(turn, now + wait_s)

    async def end(self, conversation: str, turn: str) -> None:
        """Stop showing a turn; afterwards no draft of it can appear over its reply."""
        self._ended.append(turn)
        screen = self._screens.get(conversation)
        if screen is None:
            return
        _close_turn(screen, turn)
        # A draft on its way must arrive before the reply, else it would be seen after it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S), screen.calling:
                pass
        if not screen.turns:
            await self._stop(screen)

    async def close(self) -> None:
        """Stop showing anything."""
        for screen in tuple(self._screens.values()):
            await self._stop(screen)

    async def _stop(self, screen: _Screen) -> None:
        if screen.task is not None:
            screen.task.cancel()
            await asyncio.gather(screen.task, return_exceptions=True)

    async def _show(self, screen: _Screen) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(self._listen(screen))
                await self._paint_until_over(screen)
                listening.cancel()
        except Exception as error:
            # The kinds only: an error's text may quote what was written.
            kinds = [type(one).__name__ for one in getattr(error, "exceptions", (error,))]
            log.warning("live_display_failed", conversation=screen.conversation, errors=kinds)
        finally:
            if self._screens.get(screen.conversation) is screen:
                del self._screens[screen.conversation]

    async def _listen(self, screen: _Screen) -> None:
        if self._live is None:
            return
        async with self._live.listen(screen.conversation) as events:
            async for event in events:
                await self._take(screen, event, self._live)
                screen.touched = asyncio.get_running_loop().time()
                screen.news.set()

    async def _take(self, screen: _Screen, event: LiveEvent, live: Live) -> None:
        if event.kind == "waiting":
            screen.waits[event.turn] = asyncio.get_running_loop().time() + event.wait_s
            return
        screen.waits.pop(event.turn, None)
        if event.kind == "final":
            _close_turn(screen, event.turn)
        elif event.kind == "reset" or event.turn != screen.turn:
            screen.turn, screen.text = event.turn, ""
        if event.kind != "delta" or not screen.drafts:
            return
        if event.offset > len(screen.text):
            screen.text = await live.partial(event.turn)
        else:
            screen.text = screen.text[: event.offset] + event.text

    async def _paint_until_over(self, screen: _Screen) -> None:
        clock = asyncio.get_running_loop().time
        while screen.turns and clock() - screen.touched < PATIENCE_S:
            screen.news.clear()
            async with screen.calling:
                await self._paint(screen)
            await asyncio.sleep(self._interval_s if screen.shown else 0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TYPING_S):
                    await screen.news.wait()

    async def _paint(self, screen: _Screen) -> None:
        chat = screen.place.chat
        if self._client.quiet_s(chat) or not screen.turns:
            return
        now = asyncio.get_running_loop().time()
        shows_text = screen.drafts and _current(screen) not in screen.in_place
        text = _text_of(screen, now) if shows_text else ""
        if text.strip():
            if text != screen.shown or now - screen.shown_at >= DRAFT_S:
                await self._draft(screen, text)
                screen.shown, screen.shown_at = text, now
        elif now - screen.shown_at >= TYPING_S or screen.shown:
            action = SendChatAction(chat_id=chat, message_thread_id=screen.place.topic, action="typing")
            screen.shown, screen.shown_at = "", now
            with contextlib.suppress(ConnectorError):
                await self._client.call(action, CALL_TIMEOUT_S)

    async def _draft(self, screen: _Screen, text: str) -> None:
        newest = split(*to_entities(text))[-1:]
        for part in newest:
            draft = SendMessageDraft(
                chat_id=screen.place.chat,
                message_thread_id=screen.place.topic,
                # The same for every process, so that another worker continues the same bubble.
                draft_id=zlib.crc32(_current(screen).encode()) & 0x7FFFFFFF or 1,
                text=part.text,
                entities=part.entities,
                can_stop=True,
                parse_mode=None,
            )
            try:
                await self._client.call(draft, CALL_TIMEOUT_S)
            except DeliveryRefused as error:
                log.info("draft_refused", conversation=screen.conversation, reason=str(error))
                screen.drafts = False
            except ConnectorError as error:
                log.debug("draft_not_shown", conversation=screen.conversation, reason=str(error))


def _current(screen: _Screen) -> str:
    """Name the turn that the chat waits for: the one being generated, else the oldest."""
    return screen.turn if screen.turn in screen.turns else next(iter(screen.turns), "")


def _text_of(screen: _Screen, now: float) -> str:
    turn = _current(screen)
    if screen.turn == turn and screen.text:
        return screen.text
    if turn not in screen.waits:
        return ""
    left_s = screen.waits[turn] - now
    words = phrases(screen.language)
    return words.waiting.format(seconds=_rounded_s(left_s)) if left_s >= 1 else words.soon


def _rounded_s(seconds: float) -> int:
    """Round a wait as people would tell it: to 5 s above 10 s, to 30 s above 2 min."""
    step = 1 if seconds <= 10 else 5 if seconds <= 120 else 30
    return max(1, round(seconds / step) * step)


def _close_turn(screen: _Screen, turn: str) -> None:
    # Turns of a conversation are answered in order: what began before this one is over, too.
    if turn in screen.turns:
        for earlier in list(screen.turns):
            del screen.turns[earlier]
            screen.waits.pop(earlier, None)
            if earlier == turn:
                break
    if screen.turn == turn:
        screen.text = ""
    screen.news.set()
