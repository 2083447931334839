"""Who is who: the identities one person has on several channels, and the private conversations of each.

An identity is somebody as one channel knows them and vouches for. Nothing is ever joined by a likeness of names or
addresses: the person proves it by carrying a code from one channel to the other.
"""

import hashlib
import hmac
import time
from pathlib import Path
from typing import Any, Literal

from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.keys import Keys
from hub.bus.state import State
from hub.messages import Address

CODE_TTL_S = 600
CODE_CHARS = 10
_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Without what is taken for something else when it is read aloud or typed."""
TRIES_PER_HOUR = 10
KEPT_CONVERSATIONS = 100
"""Of one identity, the latest used; a mailbox has one for each thread."""
_SCRIPTS = Path(__file__).parent / "bus" / "scripts"

Redeemed = Literal["joined", "unknown", "self", "too_many"]


class People:
    """Keeps who is who in Redis; every method may be repeated."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._state = State(redis, "people")
        self._join = redis.register_script((_SCRIPTS / "people_join.lua").read_text("utf-8"))
        self._part = redis.register_script((_SCRIPTS / "people_part.lua").read_text("utf-8"))

    async def note(self, address: Address, conversation: str) -> None:
        """Remember that a person talks in a conversation; a group's, or one nobody vouches for, is not remembered.

        Raises: BusError: Redis is away.
        """
        if not (identity := identity_of(address)) or address.is_group:
            return
        key = _key("conversations", identity)
        with bus_errors("a person's conversations could not be written"):
            pipe = self._redis.pipeline(transaction=True)
            pipe.zadd(key, {conversation: time.time()})
            pipe.zremrangebyrank(key, 0, -KEPT_CONVERSATIONS - 1)
            await pipe.execute()

    async def conversations(self, address: Address, conversation: str) -> list[str]:
        """Return the other private conversations of the person who writes in this one, the latest used last.

        None in a group: what was said in private has no place there.

        Raises: BusError: Redis is away.
        """
        if not (identity := identity_of(address)) or address.is_group:
            return []
        with bus_errors("a person's conversations could not be read"):
            pipe = self._redis.pipeline(transaction=False)
            for member in sorted(await self._members(identity)):
                pipe.zrange(_key("conversations", member), 0, -1, withscores=True)
            found = [pair for pairs in await pipe.execute() for pair in pairs]
        names = [name.decode() for name, _ in sorted(found, key=lambda pair: pair[1])]
        return [name for name in dict.fromkeys(names) if name != conversation]

    async def identities(self, address: Address) -> frozenset[str]:
        """Return all identities of the person who writes; none where nobody vouches for them or others read along.

        Raises: BusError: Redis is away.
        """
        if not (identity := identity_of(address)) or address.is_group:
            return frozenset()
        with bus_errors("a person's identities could not be read"):
            return frozenset(await self._members(identity))

    async def _members(self, identity: str) -> set[str]:
        person = await self._redis.get(_key("person", identity))
        if person is None:
            return {identity}
        members = await self._redis.smembers(_key("members", person.decode()))
        # Who parts at this very moment is no member any more, and then nobody else is theirs.
        return {member.decode() for member in members} if identity.encode() in members else {identity}

    async def offer(self, address: Address, turn: str) -> str:
        """Return a code that joins whoever redeems it to this person; the same for every attempt at a turn.

        Returns: ten characters, good once and for CODE_TTL_S; empty when nobody vouches for the person, or others read
            along.
        Raises: BusError: Redis is away.
        """
        if not (identity := identity_of(address)) or address.is_group:
            return ""
        digest = hmac.digest(await self._state.shared_secret("code_key"), turn.encode(), hashlib.sha256)
        code = "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:CODE_CHARS])
        key = _code_key(code)
        with bus_errors("a code could not be written"):
            pipe = self._redis.pipeline(transaction=True)
            pipe.hset(key, "identity", identity)
            pipe.expire(key, CODE_TTL_S)
            await pipe.execute()
        return code

    async def redeem(self, code: str, address: Address, turn: str) -> Redeemed:
        """Join the one who offered a code and the one who redeems it.

        Raises: BusError: Redis is away.
        """
        identity = identity_of(address)
        if not identity or address.is_group:
            return "unknown"
        if await self._state.increment(f"tries:{identity}", 3600.0) > TRIES_PER_HOUR:
            return "too_many"
        typed = "".join(char for char in code.upper() if char in _ALPHABET)
        keys = [_code_key(typed), _key("person", identity)]
        fresh = hashlib.blake2b(f"{typed}:{turn}".encode(), digest_size=16).hexdigest()
        with bus_errors("a code could not be redeemed"):
            said = await self._join(keys=keys, args=[turn, identity, _key(""), fresh], client=self._redis)
        known: dict[bytes, Redeemed] = {b"JOINED": "joined", b"SELF": "self"}
        return known.get(said, "unknown")

    async def part(self, address: Address) -> int:
        """Take an identity out of its person again; returns from how many others.

        Raises: BusError: Redis is away.
        """
        if not (identity := identity_of(address)):
            return 0
        with bus_errors("an identity could not be parted"):
            return int(
                await self._part(
                    keys=[_key("person", identity)], args=[identity, _key("")], client=self._redis
                )
            )


def identity_of(address: Address) -> str:
    """Name somebody as a channel vouches for them; empty where it does not."""
    return principal_of(address) if address.is_verified else ""


def principal_of(address: Address) -> str:
    """Name who wrote, whether the channel vouches for it or not: what is erased together."""
    return principal_name(address.connector, address.account, address.person)


def principal_name(connector: str, account: str, person: str) -> str:
    """Name somebody by what the three fields of an address say of them."""
    parts = "\x1f".join((account, person))
    return f"{connector}-{hashlib.blake2b(parts.encode('utf-8', 'replace'), digest_size=16).hexdigest()}"


def shown_code(code: str) -> str:
    """Return a code as it is easily read: `ABCDE-FGHJK`."""
    half = len(code) // 2
    return f"{code[:half]}-{code[half:]}"


def _key(kind: str, name: str = "") -> str:
    return Keys().people(f"{kind}:{name}" if kind else "")


def _code_key(code: str) -> str:
    return _key("code", hashlib.sha256(code.encode()).hexdigest())
