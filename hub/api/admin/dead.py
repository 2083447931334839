"""/api/v1/admin/dead: what was given up, put back once or dropped, one by one or all of a kind."""

from typing import Annotated, Literal, Self

from aiohttp import web
from pydantic import AwareDatetime, Field, model_validator
from pydantic_core import PydanticCustomError

from hub.admin.dead import Bulk
from hub.api.actors import Actor, note_change, note_reading
from hub.api.admin.moments import SpanQuery
from hub.api.admin.paging import (
    CURSORS,
    Page,
    PageQuery,
    bad_cursor,
    json_answer,
    not_found,
    paged,
)
from hub.api.admin.ports import AdminParts, Shown
from hub.api.auth import operators
from hub.api.body import read_json, read_query
from hub.api.problems import Problem, unavailable
from hub.api.routes import PREFIX, About, Answer, Gives, Route, Takes
from hub.api.schemas import Asked, NoQuery, YesNo
from hub.bus.bus import parse_inbound, parse_outbound
from hub.bus.dead import DeadLetter, Place, Wanted
from hub.bus.replaying import Replay
from hub.errors import UnreadableEntry
from hub.operators.roles import includes
from hub.settings import ApiSettings

PATH = f"{PREFIX}/admin/dead"
TAG = "dead letters"
MAX_NAME_CHARS = 200

Name = Annotated[str, Field(max_length=MAX_NAME_CHARS)]


class _Filters(SpanQuery):
    """Which dead letters; every part that is set must hold."""

    connector: Name = ""
    """The channel a message came by, or a reply was to go by."""
    conversation: Name = ""
    reason: Name = ""
    """Words that stand in the reason."""

    @property
    def wanted(self) -> Wanted:
        """The same for the book of dead letters."""
        return Wanted(
            connector=self.connector,
            conversation=self.conversation,
            reason=self.reason,
            since=self.since,
            until=self.until,
        )


class DeadQuery(PageQuery, _Filters):
    """Which page of which dead letters."""


class DeadLetterQuery(Asked):
    """How much of a dead letter is shown."""

    text: YesNo = "false"
    """Whether what was said is shown, too."""


class DeadLetterBulk(_Filters):
    """What is done with which dead letters."""

    action: Literal["replay", "drop"]
    """Put them back, or remove them for good."""
    all: bool = False
    """All of them; otherwise at least one filter is needed."""

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        is_filtered = any((self.connector, self.conversation, self.reason, self.since, self.until))
        if is_filtered == self.all:
            raise PydanticCustomError("which", "either a filter or `all` is needed")
        return self


class DeadLetterShown(Shown):
    """One dead letter, but not what was said in it."""

    id: str
    kind: Literal["message", "reply"]
    given_up_at: AwareDatetime
    connector: str
    """Empty where it could not be read."""
    conversation: str
    """Empty where it could not be read."""
    turn: str
    attempts: int
    reason: str
    size_bytes: int

    @classmethod
    def of(cls, letter: DeadLetter) -> "DeadLetterShown":
        """Tell of a dead letter."""
        return cls(**_told(letter))


class DeadLetterDetails(DeadLetterShown):
    """One dead letter."""

    text: str | None = None
    """What was said, where that was asked for; of what nobody could read, the entry as it was."""

    @classmethod
    def with_text(cls, letter: DeadLetter, *, is_asked: bool) -> "DeadLetterDetails":
        """Tell of a dead letter."""
        return cls(**_told(letter), text=_text(letter) if is_asked else None)


class PutBack(Shown):
    """A dead letter that waits again."""

    id: str
    turn: str
    """Of a message: its new turn, at the end of its conversation; of a reply: the turn it answers, as before."""


class Refused(Shown):
    """A dead letter that stays one."""

    id: str
    code: str
    """As a single one would be answered."""


class BulkShown(Shown):
    """What became of many."""

    done: int
    left: int
    """How many could not be put back."""
    is_full: bool
    """Whether it ended early because too many messages wait; come again for the rest."""
    refused: tuple[Refused, ...]
    """The first of those that were left."""

    @classmethod
    def of(cls, bulk: Bulk) -> "BulkShown":
        """Tell of it."""
        refused = tuple(Refused(id=letter, code=_CODES[why]) for letter, why in bulk.reasons)
        return cls(done=bulk.done, left=bulk.refused, is_full=bulk.is_full, refused=refused)


class DeadLetterRoutes:
    """Dead letters."""

    def __init__(self, parts: AdminParts, settings: ApiSettings) -> None:
        self._desk = parts.dead
        self._settings = settings

    def routes(self) -> list[Route]:
        """Return the routes."""
        sees, changes = operators("viewer"), operators("operator")
        one, plain = f"{PATH}/{{letter}}", Takes(query=NoQuery)
        refusals = {
            409: ("already_replayed", "not_replayable"),
            410: ("being_erased",),
            503: ("full", "conversation_full"),
        }
        return [
            Route(
                "GET", PATH, self.list_letters, sees,
                About("list_dead_letters", "Lists what was given up, the latest first.", TAG),
                Takes(query=DeadQuery),
                Gives(Answer(model=Page[DeadLetterShown], says="A page; a short one may have a next."), faults=CURSORS),
            ),
            Route(
                "GET", one, self.show, operators("viewer", hands_out=True),
                About("show_dead_letter", "Shows why something was given up, and what was said where that is asked.", TAG),
                Takes(query=DeadLetterQuery),
                Gives(Answer(model=DeadLetterDetails, says="The dead letter."), faults={403: ("role_needed",)}),
            ),
            Route(
                "POST", f"{one}/replay", self.replay, changes,
                About("replay_dead_letter", "Puts a dead letter back at the end of its conversation, once.", TAG),
                plain,
                Gives(Answer(model=PutBack, status=202, says="It waits again."), faults=refusals),
            ),
            Route(
                "DELETE", one, self.drop, changes,
                About("drop_dead_letter", "Removes a dead letter for good.", TAG),
                plain,
                Gives(Answer(status=204, media_type="", says="It is gone."), faults={409: ("already_replayed",)}),
            ),
            Route(
                "POST", PATH, self.work_on_many, changes,
                About("change_dead_letters", "Puts all dead letters of a kind back, in their order, or removes them.", TAG),
                Takes(query=NoQuery, body=DeadLetterBulk),
                Gives(Answer(model=BulkShown, says="What became of them.")),
            ),
        ]  # fmt: skip

    async def list_letters(self, request: web.Request, who: Actor) -> web.Response:
        """Answer with a page of the dead letters, the latest first."""
        query = read_query(request, DeadQuery)
        place = Place.of(query.after) if query.after else None
        if query.after and place is None:
            raise bad_cursor()
        found = await self._desk.page(query.wanted, place, query.limit)
        return paged([DeadLetterShown.of(letter) for letter in found.letters], str(found.next or ""))

    async def show(self, request: web.Request, who: Actor) -> web.Response:
        """Answer with one dead letter."""
        query = read_query(request, DeadLetterQuery)
        with_text = query.text == "true"
        if with_text and (who.role is None or not includes(who.role, "operator")):
            raise Problem(403, "role_needed", "What was said is for the role operator.")
        letter = await self._desk.one(request.match_info["letter"])
        if letter is None:
            raise not_found("dead letter")
        note_reading(who, "dead_letter_read", letter.id)
        shown = DeadLetterDetails.with_text(letter, is_asked=with_text)
        return json_answer(shown.model_dump(mode="json"))

    async def replay(self, request: web.Request, who: Actor) -> web.Response:
        """Put one back."""
        read_query(request, NoQuery)
        letter_id = request.match_info["letter"]
        letter = await self._desk.one(letter_id)
        done = await self._desk.replay(letter_id)
        if done.status != "OK":
            raise _refusal(done)
        note_change(who, "dead_letter_replayed", letter_id)
        turn = letter.envelope.turn if letter is not None and letter.is_reply else done.entry
        return json_answer(PutBack(id=letter_id, turn=turn).model_dump(mode="json"), 202)

    async def drop(self, request: web.Request, who: Actor) -> web.Response:
        """Remove one."""
        read_query(request, NoQuery)
        letter_id = request.match_info["letter"]
        if not await self._desk.drop(letter_id):
            raise _refusal(
                Replay(status="REPLAYED" if await self._desk.was_replayed(letter_id) else "MISSING")
            )
        note_change(who, "dead_letter_dropped", letter_id)
        return web.Response(status=204)

    async def work_on_many(self, request: web.Request, who: Actor) -> web.Response:
        """Put all of a kind back, or remove them."""
        read_query(request, NoQuery)
        asked = await read_json(request, DeadLetterBulk, self._settings)
        if asked.action == "drop":
            bulk = Bulk(done=await self._desk.drop_all(asked.wanted))
        else:
            bulk = await self._desk.replay_all(asked.wanted)
        change = "dead_letters_dropped" if asked.action == "drop" else "dead_letters_replayed"
        if bulk.done or bulk.refused:
            note_change(who, change, asked.conversation, letters=bulk.done, left=bulk.refused)
        return json_answer(BulkShown.of(bulk).model_dump(mode="json"))


_CODES = {
    "REPLAYED": "already_replayed",
    "UNREADABLE": "not_replayable",
    "ERASING": "being_erased",
    "FULL": "full",
    "LANE_FULL": "conversation_full",
    "MISSING": "not_found",
}


def _refusal(done: Replay) -> Problem:
    code = _CODES[done.status]
    match done.status:
        case "REPLAYED":
            return Problem(409, code, "This dead letter was put back before.")
        case "UNREADABLE":
            return Problem(409, code, "It holds nothing that anybody could answer or send.")
        case "ERASING":
            return Problem(410, code, "Its sender is being erased.")
        case "FULL":
            return unavailable("Too many messages wait for now.", code=code)
        case "LANE_FULL":
            return unavailable("Too many messages wait in its conversation for now.", code=code)
    return not_found("dead letter")


def _told(letter: DeadLetter) -> dict[str, object]:
    return {
        "id": letter.id,
        "kind": "reply" if letter.is_reply else "message",
        "given_up_at": letter.at,
        **letter.facts,
    }


def _text(letter: DeadLetter) -> str:
    try:
        return parse_outbound(letter.body).text if letter.is_reply else parse_inbound(letter.body).question
    except UnreadableEntry:
        return letter.body.decode("utf-8", "replace")
