"""How often somebody may try to sign in: passwords cannot be guessed, and nobody can shut an operator out for ever."""

import hashlib

from hub.api.problems import Problem, too_many
from hub.limits import Limit, RateLimits
from hub.operators.sessions import Sessions

FROM_ADDRESS = Limit(requests=20, window_s=60)
"""Attempts of one address, whatever the name."""
NAME_FROM_ADDRESS = Limit(requests=10, window_s=300)
NAME_FROM_ELSEWHERE = Limit(requests=30, window_s=600)
"""Attempts at one name from all addresses together that its operator has not signed in from lately. Whoever fills this
keeps the operator out nowhere but at addresses that are new for them."""
OWN_PASSWORD = Limit(requests=5, window_s=300)
"""Attempts to say one's own password when one changes it."""
RECORDED = Limit(requests=20, window_s=3600)
"""Refused attempts at one operator, or old refresh tokens of one session, that come into the audit log; more would only
fill it. The log has them all."""


class SignInGuard:
    """Counts attempts, in Redis: for all processes together."""

    def __init__(self, limits: RateLimits, sessions: Sessions) -> None:
        self._limits = limits
        self._sessions = sessions

    async def admit(self, name: str, address: str) -> None:
        """Count an attempt before any work is done for it; a name that nobody has is counted like others.

        Args:
            name: as it was sent.
            address: as limits name it.

        Raises: Problem: 429 with the time to wait. BusError: Redis is away. DatabaseError: the database is.
        """
        who = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:32]
        await self._spend(f"sign-in:{address}", FROM_ADDRESS)
        await self._spend(f"sign-in:{who}:{address}", NAME_FROM_ADDRESS)
        if not await self._sessions.is_known(name, address):
            await self._spend(f"sign-in:{who}", NAME_FROM_ELSEWHERE)

    async def admit_own_password(self, operator: str) -> None:
        """Count an attempt of somebody signed in to say their password.

        Raises: Problem: 429 with the time to wait. BusError: Redis is away.
        """
        await self._spend(f"password:{operator}", OWN_PASSWORD)

    async def is_recorded(self, tried: str) -> bool:
        """Tell whether a refused attempt comes into the audit log.

        Args:
            tried: id of the operator or the session that it was at.

        Raises: BusError: Redis is away.
        """
        return (await self._limits.spend(f"sign-in-recorded:{tried}", RECORDED)).allowed

    async def _spend(self, name: str, limit: Limit) -> None:
        tried = await self._limits.spend(name, limit)
        if not tried.allowed:
            raise _later(tried.retry_after_s)


def _later(retry_after_s: int) -> Problem:
    return too_many("too_many_failures", "Too many attempts to sign in; come again later.", retry_after_s)
