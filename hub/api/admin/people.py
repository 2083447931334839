"""/api/v1/admin/people: who is known, what is remembered of them, and all of it as an archive."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

from aiohttp import web
from pydantic import AwareDatetime, Field, field_validator

from hub.admin.people import Identity, Individual, PeopleFilter
from hub.admin.remembered import ConversationRecord, KnownFact
from hub.api.actors import Actor, note_change, note_reading
from hub.api.admin.erasures import IDENTITY_PATTERN
from hub.api.admin.paging import CURSORS, Page, PageQuery, json_answer, not_found, page
from hub.api.admin.ports import AdminParts, Shown
from hub.api.auth import operators
from hub.api.body import read_json, read_query
from hub.api.preconditions import stale, wanted_version
from hub.api.problems import FieldError, invalid_fields
from hub.api.routes import PREFIX, ZIP, About, Answer, Gives, Route, Takes
from hub.api.schemas import Asked, NoQuery, checked_text, such_as
from hub.erasure.person import NobodyNamed, parse_identity
from hub.errors import ChangedMeanwhile
from hub.facts import EarlierFact
from hub.messages import FoundBy
from hub.settings import ApiSettings

MAX_FACT_CHARS = 200
MAX_IDENTITY_CHARS = 500
MAX_CONNECTOR_CHARS = 64
EXPORTS_AT_ONCE = 2
READ_BYTES = 256 * 1024


class PeopleQuery(PageQuery):
    """Which people."""

    identity: Annotated[
        str, Field(max_length=MAX_IDENTITY_CHARS, json_schema_extra={"pattern": f"^$|{IDENTITY_PATTERN}"})
    ] = ""
    """Only who is known as `connector/account/person`."""
    connector: Annotated[str, Field(max_length=MAX_CONNECTOR_CHARS)] = ""
    """Only who is known there."""
    person: Annotated[str, Field(max_length=MAX_IDENTITY_CHARS)] = ""
    """A part of what a channel knows them by, such as of a mail address, in whatever case."""

    @property
    def wanted(self) -> PeopleFilter:
        """Connector and person, for whoever keeps them."""
        return PeopleFilter(connector=self.connector, person=self.person)


class FactRequest(Asked):
    """What holds in place of a fact."""

    model_config = such_as({"text": "Panjim"})

    text: Annotated[str, Field(min_length=1, max_length=MAX_FACT_CHARS)]

    @field_validator("text")
    @classmethod
    def _normalised(cls, text: str) -> str:
        return checked_text(text, MAX_FACT_CHARS)


class IdentityShown(Shown):
    """Somebody as one channel knows them."""

    identity: str
    """As `POST /api/v1/admin/erasures` takes it."""
    connector: str
    account: str
    person: str
    is_verified: bool

    @classmethod
    def of(cls, one: Identity) -> "IdentityShown":
        """Tell of an identity."""
        return cls(identity=one.name, is_verified=one.is_verified, **one.principal.model_dump())


class PersonShown(Shown):
    """One line of the list of people."""

    id: str
    identities: tuple[IdentityShown, ...]
    conversations: int
    last_seen: AwareDatetime | None

    @classmethod
    def of(cls, one: Individual) -> "PersonShown":
        """Tell of a person."""
        return cls(
            id=one.id,
            identities=tuple(map(IdentityShown.of, one.identities)),
            conversations=len(one.conversations("private")) + len(one.conversations("group")),
            last_seen=one.last_seen,
        )


class FactShown(Shown):
    """One fact with what it rests on."""

    id: str
    key: str
    text: str
    quote: str
    """The person's own words; empty where there are none, such as for what an operator has put right."""
    told_at: AwareDatetime | None
    audience: str
    """`private`: known in all their private conversations; `group`: in `conversation` alone."""
    conversation: str
    found_by: FoundBy
    earlier: tuple[EarlierFact, ...]
    version: str
    """What If-Match takes."""

    @classmethod
    def of(cls, one: KnownFact) -> "FactShown":
        """Tell of a fact."""
        names = ("text", "quote", "told_at", "audience", "found_by", "earlier", "version")
        values = {name: getattr(one.fact, name) for name in names}
        return cls(id=one.id, key=one.key, conversation=one.where.conversation, **values)


class ConversationShown(Shown):
    """A conversation somebody takes part in."""

    id: str
    kind: str
    turns: int
    last_turn: AwareDatetime | None
    style: dict[str, str]
    preferences: dict[str, str]


class PersonDetails(PersonShown):
    """One person with all that is remembered of them."""

    facts: tuple[FactShown, ...]
    places: tuple[ConversationShown, ...]
    """Their conversations."""

    @classmethod
    def with_memory(
        cls, one: Individual, facts: Sequence[KnownFact], places: Sequence[ConversationRecord]
    ) -> "PersonDetails":
        """Tell of a person and what is remembered."""
        line = PersonShown.of(one)
        turns = [place.last_turn for place in places if place.last_turn]
        seen = max(filter(None, (line.last_seen, *turns)), default=None)
        return cls(
            id=line.id,
            identities=line.identities,
            conversations=line.conversations,
            last_seen=seen,
            facts=tuple(map(FactShown.of, facts)),
            places=tuple(map(ConversationShown.model_validate, places)),
        )


class PeopleRoutes:
    """People."""

    def __init__(self, parts: AdminParts, settings: ApiSettings) -> None:
        self._people = parts.people
        self._remembered = parts.remembered
        self._exports = parts.exports
        self._settings = settings
        self._room = asyncio.Semaphore(EXPORTS_AT_ONCE)

    def routes(self) -> list[Route]:
        """Return the routes."""
        tag, plain = "people", Takes(query=NoQuery)
        all_, one = f"{PREFIX}/admin/people", f"{PREFIX}/admin/people/{{person}}"
        fact = f"{one}/facts/{{fact}}"
        return [
            Route(
                "GET", all_, self.list_people, operators("viewer"),
                About("list_people", "Lists who is known, with all identities that they have linked.", tag),
                Takes(query=PeopleQuery),
                Gives(Answer(model=Page[PersonShown], says="A page."), faults=CURSORS),
            ),
            Route(
                "GET", one, self.show, operators("viewer", hands_out=True),
                About("show_person", "Shows what is remembered of a person.", tag),
                plain,
                Gives(Answer(model=PersonDetails, says="Facts and conversations.")),
            ),
            Route(
                "GET", f"{one}/export", self.export, operators("operator", hands_out=True),
                About("export_person", "Gives everything that is kept of a person.", tag),
                plain,
                Gives(Answer(media_type=ZIP, says="As `hubbub export --person` writes it.")),
            ),
            Route(
                "PUT", fact, self.correct_fact, operators("operator"),
                About("correct_fact", "Puts right what one fact says.", tag),
                Takes(query=NoQuery, body=FactRequest, can_match=True),
                Gives(Answer(model=FactShown, says="The fact as it is now.")),
            ),
            Route(
                "DELETE", fact, self.forget_fact, operators("operator"),
                About("forget_fact", "Forgets one fact about a person.", tag),
                plain,
                Gives(Answer(status=204, media_type="", says="It is forgotten.")),
            ),
        ]  # fmt: skip

    async def list_people(self, request: web.Request, who: Actor) -> web.Response:
        """Answer with a page of the people who are known, by their ids."""
        query = read_query(request, PeopleQuery)
        after = query.after
        if query.identity:
            found = await self._people.find(_mark(query.identity))
            is_meant = found and any(query.wanted.holds_for(one.principal) for one in found.identities)
            people = [found] if found and is_meant and found.id > after else []
        else:
            people = await self._people.page(after, query.limit + 1, query.wanted)
        return page([PersonShown.of(one) for one in people], query.limit, lambda one: one.id)

    async def show(self, request: web.Request, who: Actor) -> web.Response:
        """Answer with all that is remembered of a person."""
        read_query(request, NoQuery)
        person = await self._who(request)
        facts, places = await self._remembered.facts(person), await self._remembered.conversations(person)
        note_reading(who, "person_read", person.id)
        return json_answer(PersonDetails.with_memory(person, facts, places).model_dump(mode="json"))

    async def forget_fact(self, request: web.Request, who: Actor) -> web.Response:
        """Forget one fact about a person."""
        read_query(request, NoQuery)
        person = await self._who(request)
        if not await self._remembered.forget(person, request.match_info["fact"]):
            raise not_found("fact")
        note_change(who, "fact_forgotten", person.id)
        return web.Response(status=204)

    async def correct_fact(self, request: web.Request, who: Actor) -> web.Response:
        """Put right what one fact says."""
        read_query(request, NoQuery)
        asked = await read_json(request, FactRequest, self._settings)
        person = await self._who(request)
        try:
            fact = await self._remembered.correct(
                person, request.match_info["fact"], asked.text, wanted=wanted_version(request)
            )
        except ChangedMeanwhile:
            raise stale() from None
        except ValueError:
            raise invalid_fields(
                FieldError("text", "expected the right words, or a sentence that tells such a fact")
            ) from None
        if fact is None:
            raise not_found("fact")
        note_change(who, "fact_corrected", person.id)
        return json_answer(FactShown.of(fact).model_dump(mode="json"))

    async def export(self, request: web.Request, who: Actor) -> web.StreamResponse:
        """Answer with everything that is kept of a person, as a zip."""
        read_query(request, NoQuery)
        person = await self._who(request)
        async with self._room:
            file = await self._exports.archive([one.principal for one in person.identities])
        with file:
            size = await asyncio.to_thread(file.seek, 0, 2)
            await asyncio.to_thread(file.seek, 0)
            note_change(who, "person_exported", person.id, bytes=size)
            headers = {"Content-Disposition": f'attachment; filename="hubbub-{person.id}.zip"'}
            response = web.StreamResponse(headers=headers)
            response.content_type = "application/zip"
            response.content_length = size
            await response.prepare(request)
            while data := await asyncio.to_thread(file.read, READ_BYTES):
                await response.write(data)
            await response.write_eof()
        return response

    async def _who(self, request: web.Request) -> Individual:
        found = await self._people.find(request.match_info["person"])
        if found is None:
            raise not_found("person")
        return found


def _mark(identity: str) -> str:
    try:
        return parse_identity(identity).mark
    except NobodyNamed:
        raise invalid_fields(FieldError("identity", "expected connector/account/person")) from None
