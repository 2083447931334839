"""What a commit writes in the same step as the acknowledgement: values that tell the script what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hub.bus.keys import Keys

EVENTS_KEPT = 100_000
Argument = str | bytes | int


@dataclass(frozen=True, slots=True)
class Effect:
    """One write that a commit makes in the same step as the acknowledgement."""

    name: Literal["publish", "append", "replace", "set", "unset", "event", "delete"]
    keys: tuple[str, ...]
    arguments: tuple[Argument, ...] = ()


def publish_effect(keys: Keys, queue: str, lane: str, body: bytes) -> Effect:
    """Put an entry on another ordered queue of the same shard."""
    return Effect("publish", (keys.stream(queue), keys.lane(queue, lane)), (lane, body))


def append_effect(key: str, value: bytes, *, keep: int, ttl_s: int | None = None) -> Effect:
    """Add a value to the end of a list and keep its last `keep`, for ever or for `ttl_s` seconds."""
    return Effect("append", (key,), (value, keep, *(() if ttl_s is None else (ttl_s,))))


def replace_effect(key: str, old: bytes, new: bytes, *, keep: int, ttl_s: int | None = None) -> Effect:
    """Put a value into the place of another in a list; at its end, as `append_effect` does, when that is gone."""
    return Effect("replace", (key,), (old, new, keep, *(() if ttl_s is None else (ttl_s,))))


def unset_effect(key: str, fields: Sequence[str]) -> Effect:
    """Take fields out of a hash."""
    return Effect("unset", (key,), tuple(fields))


def set_effect(key: str, fields: Mapping[str, str], *, ttl_s: int | None = None) -> Effect:
    """Set fields of a hash."""
    flat = [part for pair in fields.items() for part in pair]
    return Effect("set", (key,), (*flat, *(() if ttl_s is None else (ttl_s,))))


def event_effect(keys: Keys, fields: Mapping[str, str | int | float]) -> Effect:
    """Add a fact to the events stream."""
    flat = [str(part) for pair in fields.items() for part in pair]
    return Effect("event", (keys.events,), (EVENTS_KEPT, *flat))


def delete_effect(key: str) -> Effect:
    """Delete a key."""
    return Effect("delete", (key,))
