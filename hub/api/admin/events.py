"""/api/v1/admin/events: what happens, page by page from any place on, or as it happens."""

import asyncio
import contextlib
from collections.abc import Sequence
from contextlib import aclosing
from typing import Annotated, Any, Literal

import orjson
from aiohttp import web
from pydantic import AwareDatetime, Field

from hub.admin.events import EventBook, Position, StoredEvent, WantedEvents
from hub.api.actors import Actor
from hub.api.admin.paging import CURSORS, PageQuery, bad_cursor, cursor_of, json_answer
from hub.api.admin.ports import AdminParts, Shown
from hub.api.auth import operators
from hub.api.body import read_query
from hub.api.chat import event_stream, write_in_time
from hub.api.parts import ApiParts
from hub.api.problems import unavailable
from hub.api.routes import EVENTS, PREFIX, About, Answer, Gives, Route, Takes
from hub.errors import BusError

PATH = f"{PREFIX}/admin/events"
TAG = "events"
MAX_NAME_CHARS = 64
STREAMS_AT_ONCE = 16
"""Live streams of a process; each has a connection to Redis."""
STREAM_S = 120.0
"""After so long a live stream ends, and whoever comes again is asked for the key once more."""

Name = Annotated[str, Field(max_length=MAX_NAME_CHARS)]


class EventsQuery(PageQuery):
    """Which events; every part that is set must hold."""

    kind: Literal["", "turn", "delivery", "feedback"] = ""
    connector: Name = ""
    conversation: Name = ""

    @property
    def wanted(self) -> WantedEvents:
        """The same for the book of events."""
        return WantedEvents(kind=self.kind, connector=self.connector, conversation=self.conversation)


class EventShown(Shown):
    """One event; it holds no word of anybody."""

    id: str
    """Place to go on behind it, for `cursor` and `Last-Event-ID`."""
    at: AwareDatetime
    kind: Literal["turn", "delivery", "feedback"]
    turn: str
    connector: str
    conversation: str
    facts: dict[str, Any]
    """What else is known, by its kind: such as tokens and milliseconds of a turn, or the state of a delivery."""

    @classmethod
    def of(cls, one: StoredEvent, place: Position) -> "EventShown":
        """Tell of an event."""
        values = one.event.model_dump(mode="json")
        named = {name: values.pop(name) for name in ("kind", "turn", "connector", "conversation")}
        return cls(**named, id=cursor_of(str(place)), at=one.at, facts=values)


class EventPage(Shown):
    """Some events, in the order in which they happened."""

    items: Sequence[EventShown]
    next: str
    """`cursor` of the next page, also at the end, for what happens from then on."""
    has_more: bool
    """Whether there is more now."""


class EventRoutes:
    """Events."""

    def __init__(self, admin: AdminParts, parts: ApiParts) -> None:
        self._book: EventBook = admin.events
        self._stopping = parts.stopping
        self._streams = 0

    def routes(self) -> list[Route]:
        """Return the routes."""
        about = About(
            "events",
            "Tells what happened, from a place on; with Accept: text/event-stream as it happens.",
            TAG,
        )
        streamed = "As server-sent events, with ids to go on from; it ends after two minutes at most."
        gives = Gives(
            Answer(model=EventPage, says="A page, the oldest first."),
            Answer(media_type=EVENTS, says=streamed, events={"turn": EventShown, "delivery": EventShown, "feedback": EventShown}),
            faults={**CURSORS, 503: ("too_many_streams",)},
        )  # fmt: skip
        return [Route("GET", PATH, self.serve, operators("viewer"), about, Takes(query=EventsQuery), gives)]

    async def serve(self, request: web.Request, who: Actor) -> web.StreamResponse:
        """Answer with a page, or with what happens as it happens."""
        query = read_query(request, EventsQuery)
        is_live = EVENTS in request.headers.get("Accept", "")
        given = (request.headers.get("Last-Event-ID", "") if is_live else "") or query.cursor
        after = self._place(query.model_copy(update={"cursor": given}).after)
        if is_live:
            return await self._stream(request, query.wanted, after)
        start = after or Position.start(self._book.shards)
        found, place, has_more = await self._book.page(query.wanted, start, query.limit)
        shown, at = [], start
        for one in found:
            at = at.past(one.shard, one.entry)
            shown.append(EventShown.of(one, at))
        answer = EventPage(items=shown, next=cursor_of(str(place)), has_more=has_more)
        return json_answer(answer.model_dump(mode="json"))

    async def _stream(
        self, request: web.Request, wanted: WantedEvents, after: Position | None
    ) -> web.StreamResponse:
        if self._streams >= STREAMS_AT_ONCE:
            raise unavailable("Too many read events as they happen.", code="too_many_streams")
        self._streams += 1
        try:
            place = after or await self._book.end()
            response = event_stream()
            await response.prepare(request)
            # At once: whoever asks knows that nothing is missed from now on.
            await write_in_time(request, response, f"id: {cursor_of(str(place))}\n: ready\n\n".encode())
            with contextlib.suppress(TimeoutError, BusError):
                async with asyncio.timeout(STREAM_S):
                    await self._follow(request, response, wanted, place)
            await response.write_eof()
            return response
        finally:
            self._streams -= 1

    async def _follow(
        self, request: web.Request, response: web.StreamResponse, wanted: WantedEvents, place: Position
    ) -> None:
        async with aclosing(self._book.follow(wanted, place, self._stopping)) as events:
            async for one, at in events:
                if one is None:
                    # A comment keeps proxies from closing, and finds out who has gone.
                    data = b":\n\n"
                else:
                    shown = EventShown.of(one, at)
                    body = orjson.dumps(shown.model_dump(mode="json"))
                    data = f"id: {shown.id}\nevent: {shown.kind}\ndata: ".encode() + body + b"\n\n"
                await write_in_time(request, response, data)

    def _place(self, text: str) -> Position | None:
        if not text:
            return None
        place = Position.of(text, self._book.shards)
        if place is None:
            raise bad_cursor()
        return place
