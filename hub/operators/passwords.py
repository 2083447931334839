"""Passwords: hashed with argon2id in threads of their own, a few at a time, because each one costs much on purpose."""

import threading
import unicodedata
from asyncio import wrap_future
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from secrets import token_urlsafe
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from hub.errors import HubError
from hub.operator_settings import OperatorSettings

MAX_CHARS = 256
"""Longer ones are refused: what is hashed should not depend on who sends more."""
WAITING_PER_THREAD = 10

Result = TypeVar("Result")


class PasswordRefused(HubError):
    """A new password is too short, too long, or what everybody would try first."""


class PasswordsBusy(HubError):
    """So many passwords wait to be checked that one more is refused; a later attempt may not be."""

    def __init__(self) -> None:
        super().__init__("too many passwords are checked at once; try again in a few seconds")


class Passwords:
    """Makes and checks hashes.

    Each costs some tenths of a second of all lanes and `password_memory_kib` of memory: `sign_ins_at_once` bounds both.
    """

    def __init__(self, settings: OperatorSettings) -> None:
        self._min_chars = settings.password_min_chars
        self._hasher = PasswordHasher(
            time_cost=settings.password_passes,
            memory_cost=settings.password_memory_kib,
            parallelism=settings.password_lanes,
        )
        self._threads = ThreadPoolExecutor(settings.sign_ins_at_once, thread_name_prefix="passwords")
        self._most = settings.sign_ins_at_once * (1 + WAITING_PER_THREAD)
        self._pending = 0
        self._counting = threading.Lock()
        self._nobody = ""

    def check(self, password: str, name: str) -> None:
        """Refuse what cannot be a new password: its length counts, not what it is made of.

        Raises: PasswordRefused: the text says what was expected.
        """
        password = _normalised(password)
        if len(password) < self._min_chars:
            raise PasswordRefused(f"a password has at least {self._min_chars} characters")
        if len(password) > MAX_CHARS:
            raise PasswordRefused(f"a password has at most {MAX_CHARS} characters")
        if len(set(password)) == 1 or password.casefold().replace(name.casefold(), "") == "":
            raise PasswordRefused("a password is more than one character or the name again and again")

    async def hash(self, password: str) -> str:
        """Make the hash of a password, with its parameters and a new salt.

        Raises: PasswordsBusy: too many wait.
        """
        return await self._in_thread(lambda: self._hasher.hash(_normalised(password)))

    async def matches(self, password: str, known: str | None) -> bool:
        """Tell whether a hash is that of a password; where there is none, the same work is done for False.

        Raises: PasswordsBusy: too many wait.
        """
        return await self._in_thread(lambda: self._matches(password, known))

    def is_outdated(self, known: str) -> bool:
        """Tell whether a hash was made with other parameters than those of the settings."""
        return self._hasher.check_needs_rehash(known)

    def close(self) -> None:
        """End the threads once they have finished what they do."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, password: str, known: str | None) -> bool:
        text = _normalised(password)
        if len(text) > MAX_CHARS:
            text, known = "", None
        if known is None:
            # Two threads may both make one; either will do.
            self._nobody = self._nobody or self._hasher.hash(token_urlsafe(32))
        try:
            self._hasher.verify(known or self._nobody, text)
        except (VerificationError, InvalidHashError):
            return False
        return known is not None

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        with self._counting:
            if self._pending >= self._most:
                raise PasswordsBusy
            self._pending += 1
        future = self._threads.submit(work)
        # Counted by the thread's own end: a client that goes away frees nobody's place in advance.
        future.add_done_callback(self._done)
        return await wrap_future(future)

    def _done(self, _: Future[Result]) -> None:
        with self._counting:
            self._pending -= 1


def _normalised(password: str) -> str:
    # The same password typed on another keyboard or system. Source: RFC 8265 section 4.2 (OpaqueString), with NFKC
    # as NIST SP 800-63B section 5.1.1.2 allows.
    return unicodedata.normalize("NFKC", password)
