"""Dead letters as operators work on them: looked through, put back once, dropped, one by one or many at a time."""

import secrets
from dataclasses import dataclass, field, replace
from datetime import timedelta

import structlog

from hub.bus.bus import REMEMBER_DEFAULT_S, REMEMBER_S, Bus, parse_inbound, parse_outbound
from hub.bus.dead import DeadLetter, LetterPage, Place, Wanted
from hub.bus.replaying import Replay, Returning, replay
from hub.errors import UnreadableEntry
from hub.people import principal_of

log = structlog.get_logger(__name__)

PAGE = 100
MOST_REASONS = 20
DELIVERY_REMEMBERED_S = 7 * 86_400
"""How long it is kept which parts of a reply stand at its destination."""


@dataclass(slots=True)
class Bulk:
    """What became of many dead letters."""

    done: int = 0
    refused: int = 0
    reasons: list[tuple[str, str]] = field(default_factory=list)
    """The first that were not put back, with why."""
    is_full: bool = False
    """Whether the rest waits because its stream takes nothing more for now."""

    def refuse(self, letter_id: str, why: str) -> None:
        """Note one that stays."""
        self.refused += 1
        if len(self.reasons) < MOST_REASONS:
            self.reasons.append((letter_id, why))


class DeadLetterDesk:
    """Works on dead letters; every method raises BusError where Redis is away, and may be repeated then."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._letters = bus.dead_letters

    async def page(self, wanted: Wanted, after: Place | None, limit: int) -> LetterPage:
        """Return dead letters, newest first."""
        return await self._letters.page(wanted, after, limit)

    async def one(self, letter_id: str) -> DeadLetter | None:
        """Return one; None where there is none of the id."""
        return await self._letters.one(letter_id)

    async def was_replayed(self, letter_id: str) -> bool:
        """Tell whether a dead letter was put back lately."""
        return await self._letters.was_replayed(letter_id)

    async def replay(self, letter_id: str) -> Replay:
        """Put one back at the end of its conversation, once.

        A message keeps its external key, a reply its id: what comes again is recognised, and what stands at its
        destination is not sent again.
        """
        letter = await self.one(letter_id)
        if letter is None:
            return Replay(status="REPLAYED" if await self.was_replayed(letter_id) else "MISSING")
        return await self._replay(letter)

    async def drop(self, letter_id: str) -> bool:
        """Remove one for good; False where there is none of the id."""
        place = Place.of(letter_id)
        return place is not None and bool(await self._letters.drop(place))

    async def replay_all(self, wanted: Wanted) -> Bulk:
        """Put all back that were given up until now, in the order in which that happened.

        Of a conversation that takes nothing more for now the rest stays, so that its order does; when its stream is full,
        all of the rest.
        """
        bulk, held = Bulk(), set[tuple[str, str]]()
        wanted, place = await self._until_now(wanted), None
        while True:
            page = await self._letters.page(wanted, place, PAGE, oldest_first=True)
            for letter in page.letters:
                if (letter.queue, letter.lane) in held:
                    bulk.refuse(letter.id, "LANE_FULL")
                    continue
                done = await self._replay(letter)
                match done.status:
                    case "OK":
                        bulk.done += 1
                    case "MISSING" | "REPLAYED":
                        # Somebody else did it meanwhile.
                        continue
                    case "FULL":
                        bulk.is_full = True
                        return bulk
                    case _:
                        bulk.refuse(letter.id, done.status)
                        if done.status == "LANE_FULL":
                            held.add((letter.queue, letter.lane))
            if (place := page.next) is None:
                return bulk

    async def drop_all(self, wanted: Wanted) -> int:
        """Remove all that were given up until now; returns how many."""
        dropped, place = 0, None
        wanted = await self._until_now(wanted)
        while True:
            page = await self._letters.page(wanted, place, PAGE, oldest_first=True)
            dropped += await self._letters.drop(*(letter.place for letter in page.letters))
            if (place := page.next) is None:
                return dropped

    async def _until_now(self, wanted: Wanted) -> Wanted:
        """Leave out what is given up from now on: a message that fails again would be put back for ever."""
        now = await self._letters.now() + timedelta(milliseconds=1)
        return replace(wanted, until=min(wanted.until or now, now))

    async def _replay(self, letter: DeadLetter) -> Replay:
        try:
            returning = self._returning(letter)
        except UnreadableEntry:
            returning = None
        if returning is None or returning.lane != letter.lane:
            return Replay(status="UNREADABLE")
        queue = self._bus.queue(letter.queue, letter.place.shard)
        done = await replay(queue, letter.place.entry, returning, attempt=secrets.token_hex(8))
        log.info("dead_letter_replayed", letter=letter.id, status=done.status, entry=done.entry)
        return done

    def _returning(self, letter: DeadLetter) -> Returning:
        keys = self._bus.queue(letter.queue, letter.place.shard).keys
        if letter.is_reply:
            reply = parse_outbound(letter.body)
            return Returning(
                kind="reply",
                entry=letter.entry,
                lane=reply.conversation,
                person=principal_of(reply.address),
                record=keys.sent(reply.reply_id),
                remember_s=DELIVERY_REMEMBERED_S,
            )
        message = parse_inbound(letter.body)
        return Returning(
            kind="message",
            entry=letter.entry,
            lane=message.conversation,
            person=principal_of(message.address),
            record=keys.seen(message.external_key),
            remember_s=REMEMBER_S.get(message.address.connector, REMEMBER_DEFAULT_S),
            origin=message.replaces or message.origin,
        )
