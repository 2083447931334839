"""What is done with a run's Redis beside its traffic: somebody is erased, and in the end all it holds is written down."""

import time
from typing import Any

from redis.asyncio import Redis

from hub.bus.bus import Bus
from hub.bus.connection import connect
from hub.bus.history import History as Turns
from hub.bus.keys import Keys
from hub.erasure.conversations import ConversationStore, TurnStore
from hub.erasure.engines import EnginesOnBus
from hub.erasure.eraser import Eraser, Pace
from hub.erasure.files import RedisFiles
from hub.erasure.identities import CacheStore, ExternalKeyStore, IdentityStore, RequestStore
from hub.erasure.person import Principal
from hub.erasure.queues import QueueStore
from hub.erasure.rewriting import RedisStreams
from hub.erasure.stores import Compacting, PersonalStore
from hub.erasure.streams import stream_stores
from hub.events import DeliveryEvent, TurnEvent, parse_event
from hub.messages import OutboundMessage, conversation_id
from hub.settings import BusSettings
from tests.faults.history import History

CHANNELS = ("http", "telegram", "email")


async def erase_person(url: str, history: History, name: str) -> None:
    """Erase somebody of the http channel from Redis, and look for what is left of them.

    Raises: HubError, RedisError, OSError: it was not done; repeating is safe.
    """
    bus = Bus(url, BusSettings())
    redis, shards = bus.redis, 1
    stores: list[PersonalStore] = [
        ConversationStore(redis, shards=shards),
        TurnStore(redis, shards=shards),
        CacheStore(redis),
        RequestStore(redis, shards=shards),
        ExternalKeyStore(redis, shards=shards, prefixes=[]),
        QueueStore(redis, shards=shards),
        *stream_stores(redis, shards=shards),
        IdentityStore(redis, shards=shards),
    ]
    files: list[Compacting] = [RedisStreams(redis, shards=shards), RedisFiles(redis)]
    pace = Pace(settle_s=0.2, lease_s=3.0)
    eraser = Eraser(
        redis, stores, files, shards=shards, version="chaos", engines=EnginesOnBus(bus), pace=pace
    )
    began = time.monotonic()
    try:
        # What an earlier try has left is gone on with, as the hub does by itself.
        if not await eraser.resume():
            await eraser.erase(Principal(connector="http", account="http", person=name))
        left = await _holding(redis, name.encode())
    finally:
        await bus.close()
    conversation = conversation_id("http", name)
    history.write("erase", person=name, conversation=conversation, began=began, left=left)


async def _holding(redis: Redis, word: bytes) -> list[str]:
    """Return the keys in whose name or value a word stands."""
    client: Any = redis
    await client.config_set("rdbcompression", "no")
    found = []
    async for key in client.scan_iter(count=1000):
        value = await client.dump(key)
        if word in key or word in (value or b""):
            found.append(key.decode("utf-8", "replace"))
    return found


async def write_final(url: str, history: History) -> None:
    """Write down what Redis holds in the end."""
    redis = connect(url)
    client: Any = redis
    events = [parse_event(fields) for _, fields in await client.xrange(Keys().events)]
    turns = [event for event in events if isinstance(event, TurnEvent)]
    names = sorted({event.conversation for event in turns})
    kept = {name: [turn.turn for turn in await Turns(redis).turns(name, last=10_000)] for name in names}
    letters = [
        {name.decode(): value.decode("utf-8", "replace") for name, value in fields.items()}
        for _, fields in await client.xrange(Keys().dead)
    ]
    inbound = {entry.decode() for entry, _ in await client.xrange(Keys().stream("inbound"))}
    async for key in client.scan_iter(match=f"{Keys().lane('inbound', '')}*", count=1000):
        inbound |= {entry.decode() for entry in await client.lrange(key, 0, -1)}
    outbound: list[str] = []
    for channel in CHANNELS:
        for _, fields in await client.xrange(Keys().stream(f"outbound:{channel}")):
            outbound.append(OutboundMessage.model_validate_json(fields[b"body"]).turn)
    history.write(
        "final",
        turns=[
            {"turn": event.turn, "conversation": event.conversation, "kind": event.kind_of_answer}
            for event in turns
        ],
        deliveries=[
            {"turn": event.turn, "connector": event.connector, "state": event.state, "unclear": event.unclear}
            for event in events
            if isinstance(event, DeliveryEvent)
        ],
        dead=[
            {
                "queue": letter["queue"],
                "entry": letter["entry"],
                "reason": letter["reason"],
                "attempts": int(letter["attempts"]),
            }
            for letter in letters
        ],
        histories=kept,
        unfinished={"inbound": sorted(inbound), "outbound": outbound},
    )
    await redis.aclose()
