"""/api/v1/admin/conversations: who talks where, what was said, and an end to what runs."""

import re
import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import AwareDatetime, Field, field_validator

from hub.admin.conversations import ConversationSummary, ToldTurn, WantedConversations
from hub.api.actors import Actor, note_change, note_reading
from hub.api.admin.moments import SpanQuery
from hub.api.admin.paging import (
    CURSORS,
    Page,
    PageQuery,
    bad_cursor,
    json_answer,
    not_found,
    page,
)
from hub.api.admin.ports import AdminParts, Shown
from hub.api.auth import operators
from hub.api.body import read_json, read_query
from hub.api.idempotency import idempotency_key, remember
from hub.api.parts import ApiParts
from hub.api.problems import FieldError, Problem, invalid_fields, unavailable
from hub.api.routes import PREFIX, About, Answer, Gives, Route, Takes
from hub.api.schemas import Asked, NoQuery, checked_text
from hub.bus.bus import INBOUND
from hub.bus.connection import bus_errors
from hub.erasure.person import NobodyNamed, parse_identity
from hub.messages import Address, InboundMessage, Source, Turn
from hub.people import principal_of

PATH = f"{PREFIX}/admin/conversations"
TAG = "conversations"
MAX_NAME_CHARS = 64
MAX_IDENTITY_CHARS = 500
MAX_TEXT_CHARS = 4_000

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_TURN = re.compile(r"\d{1,15}-\d{1,19}", re.ASCII)
_PLACE = re.compile(r"(\d{0,24}) ([A-Za-z0-9_-]{1,64})", re.ASCII)


class ConversationsQuery(PageQuery, SpanQuery):
    """Which page of which conversations: those with a turn for which every part that is set holds."""

    connector: Annotated[str, Field(max_length=MAX_NAME_CHARS)] = ""
    person: Annotated[str, Field(max_length=MAX_IDENTITY_CHARS)] = ""
    """Who asked, as `connector/account/person`."""

    @property
    def wanted(self) -> WantedConversations:
        """The same for whoever keeps them.

        Raises: Problem: 422 where the person cannot be one.
        """
        try:
            person = parse_identity(self.person) if self.person else None
        except NobodyNamed:
            raise invalid_fields(FieldError("person", "expected connector/account/person")) from None
        return WantedConversations(
            connector=self.connector, person=person, since=self.since, until=self.until
        )


class CancelRequest(Asked):
    """What is to be cancelled."""

    turn: Annotated[str, Field(max_length=MAX_NAME_CHARS)] = ""
    """One turn; empty: all that wait or run now."""


class MessageRequest(Asked):
    """What an operator says in the assistant's place."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS)]
    """Markdown."""
    role: Literal["operator"] = "operator"
    """Who says it; nobody speaks as the system, the assistant or the person."""

    @field_validator("text")
    @classmethod
    def _normalised(cls, text: str) -> str:
        return checked_text(text, MAX_TEXT_CHARS)


class ConversationLine(Shown):
    """One conversation of the list, but not what was said in it."""

    id: str
    connector: str
    account: str
    person: str
    """Who talks; empty where several people do."""
    is_group: bool
    turns: int
    begun_at: AwareDatetime
    last_turn: AwareDatetime


class ConversationDetails(ConversationLine):
    """One conversation."""

    waiting: int
    """Messages that wait or are being answered now."""


class TurnShown(Shown):
    """One turn."""

    turn: str
    person: str
    """Who asked, as the channel knows them; empty where the text is not kept."""
    question: str
    """Empty where it is not kept."""
    answer: str
    kind: Literal["answer", "notice", "error"]
    code: str
    sources: tuple[Source, ...]
    """With the `state` of each document by now."""
    asked_at: AwareDatetime
    answered_at: AwareDatetime
    route: str
    """How the answer came about; empty where nobody keeps that."""
    model: str
    """Empty where no model was asked."""
    delivery: str
    """`placed`, `failed` or `gave_up`; empty while it is under way, or where nobody keeps that."""

    @classmethod
    def of(cls, told: ToldTurn, turn: Turn) -> "TurnShown":
        """Tell of a turn.

        Args:
            turn: the same, its sources marked.
        """
        names = ("turn", "question", "answer", "kind", "code", "sources", "asked_at", "answered_at")
        values = {name: getattr(turn, name) for name in names}
        person = turn.address.person if turn.address else ""
        return cls(**values, person=person, route=told.route, model=told.model, delivery=told.delivery)


class Cancelled(Shown):
    """What is certain to end without an answer."""

    cancelled: Sequence[str]
    """Turns, oldest first."""


class MessageTaken(Shown):
    """A message of an operator that goes out in its turn."""

    turn: str


class ConversationRoutes:
    """Conversations."""

    def __init__(self, admin: AdminParts, parts: ApiParts) -> None:
        self._kept = admin.conversations
        self._speaking = admin.speaking
        self._bus = parts.bus
        self._settings = parts.settings
        self._citations = parts.citations

    def routes(self) -> list[Route]:
        """Return the routes."""
        sees, changes = operators("viewer"), operators("operator")
        one = f"{PATH}/{{conversation}}"
        return [
            Route(
                "GET", PATH, self.list_conversations, sees,
                About("list_conversations", "Lists conversations, that with the latest turn first.", TAG),
                Takes(query=ConversationsQuery),
                Gives(Answer(model=Page[ConversationLine], says="A page."), faults=CURSORS),
            ),
            Route(
                "GET", one, self.show, sees,
                About("show_conversation", "Tells of one conversation, and whether it waits for something.", TAG),
                Takes(query=NoQuery),
                Gives(Answer(model=ConversationDetails, says="The conversation.")),
            ),
            Route(
                "GET", f"{one}/turns", self.list_turns, operators("viewer", hands_out=True),
                About("list_turns", "Lists what was said in a conversation, the latest first.", TAG),
                Takes(query=PageQuery),
                Gives(Answer(model=Page[TurnShown], says="A page."), faults=CURSORS),
            ),
            Route(
                "POST", f"{one}/cancel", self.cancel, changes,
                About("cancel_turns", "Stops what a conversation waits for, as if it had not been asked.", TAG),
                Takes(query=NoQuery, body=CancelRequest),
                Gives(Answer(model=Cancelled, says="What ends; empty where nothing waited.")),
            ),
            Route(
                "POST", f"{one}/messages", self.say, changes,
                About("send_message", "Says something in the assistant's place, behind what waits.", TAG),
                Takes(query=NoQuery, body=MessageRequest, can_repeat=True),
                Gives(
                    Answer(model=MessageTaken, status=202, says="It goes out in its turn."),
                    faults={
                        409: ("channel_cannot", "closed"),
                        410: ("forgotten", "being_erased"),
                        503: ("full", "conversation_full"),
                    },
                ),
            ),
        ]  # fmt: skip

    async def list_conversations(self, request: web.Request, who: Actor) -> web.Response:
        """Answer with a page of the conversations, that with the latest turn first."""
        query = read_query(request, ConversationsQuery)
        after = None
        if query.after:
            if (place := _PLACE.fullmatch(query.after)) is None:
                raise bad_cursor()
            after = place[1], place[2]
        found = await self._kept.page(query.wanted, after, query.limit + 1)
        places = {one.id: f"{one.place} {one.id}" for one in found}
        return page([_line(one) for one in found], query.limit, lambda one: places[one.id])

    async def show(self, request: web.Request, who: Actor) -> web.Response:
        """Answer with one conversation."""
        read_query(request, NoQuery)
        conversation = _id(request)
        found = await self._kept.one(conversation)
        if found is None:
            raise not_found("conversation")
        shown = ConversationDetails(**_line(found).model_dump(), waiting=await self._waiting(conversation))
        return json_answer(shown.model_dump(mode="json"))

    async def list_turns(self, request: web.Request, who: Actor) -> web.Response:
        """Answer with a page of what was said, the latest first."""
        query = read_query(request, PageQuery)
        before, conversation = query.after, _id(request)
        if before and not _TURN.fullmatch(before):
            raise bad_cursor()
        found = await self._kept.turns(conversation, before, query.limit + 1)
        if not found and not before:
            raise not_found("conversation")
        if found:
            note_reading(who, "turns_read", conversation, turns=min(len(found), query.limit))
        turns: Sequence[Turn] = [one.turn for one in found]
        if self._citations is not None:
            turns = await self._citations.marked(turns)
        shown = [TurnShown.of(told, turn) for told, turn in zip(found, turns, strict=True)]
        return page(shown, query.limit, lambda one: one.turn)

    async def cancel(self, request: web.Request, who: Actor) -> web.Response:
        """Cancel what waits or runs."""
        read_query(request, NoQuery)
        asked = await read_json(request, CancelRequest, self._settings)
        conversation = _id(request)
        turns = await self._bus.cancel(conversation, asked.turn)
        if turns:
            note_change(who, "turns_cancelled", conversation, turns=len(turns))
        return json_answer(Cancelled(cancelled=turns).model_dump(mode="json"))

    async def say(self, request: web.Request, who: Actor) -> web.Response:
        """Send what an operator says, as a turn of the conversation."""
        read_query(request, NoQuery)
        asked = await read_json(request, MessageRequest, self._settings)
        name, conversation = idempotency_key(request), _id(request)
        address = await self._address(conversation)
        if name:
            await remember(self._bus.redis, who.id, name, asked, conversation)
        message = InboundMessage(
            # The blank cannot stand in an Idempotency-Key: the two kinds never meet.
            external_key=f"operator:{who.id}:{conversation}:{name or ' ' + secrets.token_hex(16)}",
            conversation=conversation,
            address=address,
            text="",
            spoken=asked.text,
        )
        published = await self._bus.publish(message)
        if published.status not in ("OK", "DUPLICATE"):
            code = "full" if published.status == "FULL" else "conversation_full"
            raise unavailable("Too many messages wait for now.", code=code)
        note_change(who, "message_sent", conversation)
        return json_answer(MessageTaken(turn=published.entry).model_dump(mode="json"), 202)

    async def _address(self, conversation: str) -> Address:
        """Return where a conversation is written to.

        Raises: Problem: 404, 409 or 410 where it cannot be.
        """
        latest = next(iter(await self._kept.turns(conversation, "", 1)), None)
        address = latest.turn.address if latest is not None else None
        if latest is None or address is None:
            # What is left of a conversation that was forgotten is that there was one.
            if latest is None and not await self._bus.history.version(conversation):
                raise not_found("conversation")
            raise Problem(410, "forgotten", "Nothing is kept of this conversation any more.")
        if await self._is_being_erased(conversation, address):
            raise Problem(410, "being_erased", "Somebody who talks here is being erased.")
        if address.connector not in self._speaking:
            raise Problem(409, "channel_cannot", "By this channel only what was asked can be answered.")
        if latest.delivery == "failed":
            raise Problem(409, "closed", "Its channel has refused the last reply.")
        return address

    async def _is_being_erased(self, conversation: str, address: Address) -> bool:
        keys, client = self._bus.keys(conversation), self._bus.redis
        with bus_errors("a conversation could not be looked up"):
            return bool(await client.exists(keys.erased(conversation), keys.erased(principal_of(address))))

    async def _waiting(self, conversation: str) -> int:
        with bus_errors("a conversation could not be looked up"):
            client: Any = self._bus.redis
            return int(await client.llen(self._bus.keys(conversation).lane(INBOUND, conversation)))


def _id(request: web.Request) -> str:
    conversation = request.match_info["conversation"]
    if not _ID.fullmatch(conversation):
        raise not_found("conversation")
    return conversation


def _line(one: ConversationSummary) -> ConversationLine:
    return ConversationLine.model_validate(one)
