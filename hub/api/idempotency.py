"""Idempotency-Key: a request that is sent again is recognised, for a day."""

import hashlib
import re
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel
from redis.asyncio import Redis

from hub.api.problems import Problem
from hub.bus.connection import bus_errors
from hub.bus.keys import Keys

KEPT_S = 25 * 3600
"""A little longer than the bus remembers the message itself."""

_NAME = re.compile(r"[!-~]{1,255}", re.ASCII)


def idempotency_key(request: web.Request) -> str:
    """Return the header; empty when there is none.

    Raises: Problem: 400 when it is empty, long, odd or there twice.
    """
    given = request.headers.getall("Idempotency-Key", [])
    if not given:
        return ""
    if len(given) > 1 or not _NAME.fullmatch(given[0]):
        raise Problem(
            400, "invalid_idempotency_key", "Idempotency-Key holds 1 to 255 visible ASCII characters, once."
        )
    return given[0]


async def remember(redis: Redis, key_id: str, name: str, asked: BaseModel, session_id: str) -> str:
    """Note what a key was first used for.

    Returns: the session of the first request with it: the one given, or the one made then.
    Raises: Problem: 422 when it was used for something else. BusError: Redis is away.
    """
    record = orjson.dumps({"asked": _digest(asked), "session_id": session_id, "key": key_id, "name": name})
    place = Keys().state("api", f"idempotency:{key_id}:{name}")
    with bus_errors("a request could not be noted"):
        is_first = await redis.set(place, record, nx=True, ex=KEPT_S)
        stored: Any = None if is_first else await redis.get(place)
    if stored is None:
        return session_id
    first = orjson.loads(stored)
    if first["asked"] != _digest(asked):
        raise Problem(422, "idempotency_key_reused", "This Idempotency-Key was used for another request.")
    return str(first["session_id"])


def _digest(asked: BaseModel) -> str:
    # How the answer is brought is not part of what is asked.
    said = asked.model_dump(mode="json", exclude={"stream", "stream_options"}, exclude_defaults=True)
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()
