"""Messages and replies that are given up, as workers and senders do it."""

from typing import Any

from hub.bus.bus import INBOUND, Bus, outbound
from hub.bus.effects import Effect, publish_effect
from hub.bus.queue import Commit, Lease, OrderedQueue
from hub.messages import Address, InboundMessage, OutboundMessage, reply_id_of

OWNER = "worker"


def message(conversation: str, text: str, *, connector: str = "telegram", **fields: Any) -> InboundMessage:
    """Make a message whose external key is its text."""
    address = Address(connector=connector, account="1", chat=conversation, person=conversation)
    return InboundMessage(
        external_key=f"key:{text}", conversation=conversation, address=address, text=text, **fields
    )


async def entered(queue: OrderedQueue, entry: str, lane: str) -> Lease:
    """Enter a lane that must be free."""
    lease = await queue.enter(entry, lane, OWNER)
    assert isinstance(lease, Lease)
    return lease


async def give_up(bus: Bus, asked: InboundMessage, reason: str = "5 attempts failed") -> str:
    """Publish a message and let a worker give it up; returns its turn."""
    published = await bus.publish(asked)
    queue = bus.queue(INBOUND, bus.keys(asked.conversation).shard)
    lease = await entered(queue, published.entry, asked.conversation)
    await queue.commit(lease, OWNER, Commit(dead_letter=reason))
    return published.entry


async def give_up_reply(
    bus: Bus, asked: InboundMessage, reason: str = "given up: no route"
) -> OutboundMessage:
    """Answer a message and let its sender give the reply up."""
    published = await bus.publish(asked)
    lane, connector = asked.conversation, asked.address.connector
    keys = bus.keys(lane)
    reply = OutboundMessage(
        reply_id=reply_id_of(published.entry),
        turn=published.entry,
        conversation=lane,
        address=asked.address,
        text=f"answer to {asked.text}",
    )
    effects: list[Effect] = [
        publish_effect(keys, outbound(connector), lane, reply.model_dump_json().encode())
    ]
    inbound, replies = bus.queue(INBOUND, keys.shard), bus.queue(outbound(connector), keys.shard)
    await inbound.commit(await entered(inbound, published.entry, lane), OWNER, Commit(effects))
    client: Any = bus.redis
    [entry] = await client.lrange(keys.lane(replies.name, lane), 0, -1)
    await replies.commit(await entered(replies, entry.decode(), lane), OWNER, Commit(dead_letter=reason))
    return reply


async def waiting(bus: Bus, lane: str, queue: str = INBOUND) -> list[str]:
    """Return the texts of what waits in a lane, the head first."""
    keys, client = bus.keys(lane), bus.redis
    texts = []
    raw: Any = client
    for entry in await raw.lrange(keys.lane(queue, lane), 0, -1):
        [(_, fields)] = await raw.xrange(keys.stream(queue), entry, entry)
        model = InboundMessage if queue == INBOUND else OutboundMessage
        texts.append(model.model_validate_json(fields[b"body"]).text)
    return texts
