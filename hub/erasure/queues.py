"""What waits or runs: messages on the inbound stream, replies on the outbound ones, with lanes and leases."""

from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

from redis.asyncio import Redis

from hub.bus.bus import INBOUND
from hub.bus.connection import bus_errors
from hub.bus.keys import Keys
from hub.erasure.keyspace import Keyspace, paged, text
from hub.erasure.person import Person
from hub.messages import Envelope, envelope_of

_SCRIPT = Path(__file__).parent.parent / "bus" / "scripts" / "purge.lua"
_OUTBOUND = "outbound"
_LANE_KINDS = ("lane", "lease", "cancelled")
TURN_REFUSED_S = 3600
"""How long whoever works on a turn that was erased may show, cache or note nothing of it; longer than any takes."""


class QueueStore:
    """All ordered queues; who works on something of the person finds that it is gone and may commit nothing."""

    name = "queues"

    def __init__(self, redis: Redis, *, shards: int) -> None:
        self._keyspace = Keyspace(redis, shards=shards)
        self._purge = redis.register_script(_SCRIPT.read_text("utf-8"))

    async def widen(self, person: Person) -> Person:
        """Learn conversations and turns from what waits and what was answered just now."""
        conversations, groups, turns = set[str](), set[str](), set[str]()
        async for keys, queue in self._queues():
            async for page in self._keyspace.entries(keys.stream(queue)):
                for entry, fields in page:
                    envelope = envelope_of(fields.get(b"body", b""))
                    lane = text(fields.get(b"lane"))
                    if not person.owns(lane, envelope.address):
                        continue
                    turns.add(text(entry) if queue == INBOUND else envelope.turn)
                    if lane and envelope.address is not None:
                        (groups if envelope.address.is_group else conversations).add(lane)
        return person.with_more(conversations=conversations, groups=groups, turns=turns - {""})

    async def erase(self, person: Person) -> int:
        """Remove lanes of their own, and their entries in those of several."""
        removed = 0
        async for keys, queue in self._queues():
            stream, group = keys.stream(queue), "engine" if queue == INBOUND else "senders"
            shared = await self._shared(keys, queue, person)
            # First of all: who works on them may hear of it only when their lease is to be renewed.
            await self._refuse(keys, [envelope for found in shared.values() for envelope in found.values()])
            # What is worked on in a group may have been shown what is being erased.
            groups = person.groups if queue == INBOUND else frozenset()
            for lane in sorted(person.conversations | groups | shared.keys()):
                is_own = lane in person.conversations
                names = [stream, *(getattr(keys, kind)(queue, lane) for kind in _LANE_KINDS)]
                with bus_errors("waiting messages could not be removed"):
                    removed += int(
                        await self._purge(
                            keys=names, args=[group, int(is_own), *sorted(shared.get(lane, ()))]
                        )
                    )
        return removed

    async def holds(self, person: Person) -> int:
        """Count their entries, lanes and leases."""
        found = 0
        async for keys, queue in self._queues():
            found += sum(len(entries) for entries in (await self._shared(keys, queue, person)).values())
            names = [
                getattr(keys, kind)(queue, lane) for lane in person.conversations for kind in _LANE_KINDS
            ]
            found += await self._keyspace.existing(names)
        return found

    async def _refuse(self, keys: Keys, envelopes: list[Envelope]) -> None:
        """Mark turns and messages as erased; both are named once, so nothing else is ever refused by it."""
        first = self._keyspace.shards[0]
        names = {keys.erased(one.turn) for one in envelopes if one.turn}
        names |= {first.erased(one.external_key) for one in envelopes if one.external_key}
        with bus_errors("turns could not be refused"):
            for page in paged(sorted(names)):
                pipe = self._keyspace.redis.pipeline(transaction=False)
                for name in page:
                    pipe.set(name, 1, ex=TURN_REFUSED_S)
                await pipe.execute()

    async def _shared(self, keys: Keys, queue: str, person: Person) -> dict[str, dict[str, Envelope]]:
        """Find their entries with whose they are, by lane."""
        mine: defaultdict[str, dict[str, Envelope]] = defaultdict(dict)
        async for page in self._keyspace.entries(keys.stream(queue)):
            for entry, fields in page:
                lane = text(fields.get(b"lane"))
                envelope = envelope_of(fields.get(b"body", b""))
                if person.owns(lane, envelope.address):
                    turn = text(entry) if queue == INBOUND else envelope.turn
                    mine[lane][text(entry)] = envelope.model_copy(update={"turn": turn})
        return mine

    async def _queues(self) -> AsyncIterator[tuple[Keys, str]]:
        for keys in self._keyspace.shards:
            prefix = keys.prefix(_OUTBOUND)
            yield keys, INBOUND
            async for page in self._keyspace.pages(keys, _OUTBOUND):
                for key in page:
                    yield keys, f"{_OUTBOUND}:{key.removeprefix(prefix)}"
