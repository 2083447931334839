"""Answers whose visitor has gone: they wait for a page to take them, and go by mail when none does.

All of it lies in the store, so a deadline survives a restart and any process may meet it.
"""

import asyncio
import hashlib
from collections.abc import Callable
from datetime import datetime

import structlog
from pydantic import ValidationError

from connectors.store import Store
from connectors.web.ports import MailOut
from hub.errors import BusError, RetryLater
from hub.messages import Message, OutboundMessage, utc_now

log = structlog.get_logger(__name__)

DAY_S = 86_400
LEAVE_S = DAY_S
"""How long an address is kept with a conversation."""
WAIT_S = 60.0
"""How long a page has to confirm an answer before it is mailed."""
LOOK_S = 5.0
PRESENT_S = 45.0
"""A page is taken for gone so long after its last sign; below WAIT_S, so that the sign is never an older page's."""
RENEW_S = 15.0
HAND_OVER_S = 5.0
"""How long a stop waits for an answer that is being handed over."""
MAILS_PER_DAY = 3
"""Answers one address gets in a day: nobody is flooded by what others leave in their name."""
ADDRESSES_PER_DAY = 10
"""Addresses one visitor may leave in a day."""
_SENT_S = 7 * DAY_S
_DUE = "due"


class Due(Message):
    """An answer that waits to be confirmed."""

    email: str
    since: datetime
    message: OutboundMessage


class MailedAnswers:
    """Decides which answers go by mail.

    Args:
        out: takes them; None where no mail is sent: then no address is taken either.
        now: the time, for tests.
    """

    def __init__(self, store: Store, out: MailOut | None, *, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._out = out
        self._now = now
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def is_on(self) -> bool:
        """Whether visitors may leave an address."""
        return self._out is not None

    async def leave(self, conversation: str, email: str) -> bool:
        """Keep an address with a conversation, or forget it when it is empty.

        Returns: False when too many were left there today.

        Raises: BusError: Redis is away.
        """
        if not email:
            # Kept as empty, which tells it from one whose day has passed: what waits already is not mailed either.
            await self._store.set(f"leave:{conversation}", "", LEAVE_S)
            return True
        if await self._store.increment(f"leaves:{conversation}", DAY_S) > ADDRESSES_PER_DAY:
            return False
        await self._store.set(f"leave:{conversation}", email, LEAVE_S)
        await self.is_here(conversation)
        return True

    async def is_here(self, conversation: str) -> None:
        """Note that a page is open; nothing is written for visitors who left no address.

        Raises: BusError: Redis is away.
        """
        if self.is_on and await self._store.get(f"leave:{conversation}"):
            await self._store.set(f"here:{conversation}", "1", PRESENT_S)

    async def got(self, turn: str) -> None:
        """Note that a page has this answer.

        Raises: BusError: Redis is away.
        """
        if self.is_on and await self._store.get(f"due:{turn}"):
            await self._store.set(f"got:{turn}", "1", 2 * DAY_S)
            await self._settle(turn)

    async def expect(self, message: OutboundMessage) -> None:
        """Begin to wait for a page to take an answer; called before any page is told of it.

        Raises: BusError: Redis is away.
        """
        if not self.is_on or message.kind == "cancelled":
            return
        email = await self._store.get(f"leave:{message.conversation}")
        if not email or await self._store.get(f"due:{message.turn}"):
            return
        due = Due(email=email, since=self._now(), message=message)
        # The set comes last: what stands in it always has its record.
        await self._store.set(f"due:{message.turn}", due.model_dump_json(), 2 * DAY_S)
        await self._store.add(_DUE, message.turn)

    async def run(self) -> None:
        """Look for answers whose time has come, until cancelled; what is being handed over then is not cut off."""
        try:
            while True:
                try:
                    await self.look()
                except BusError as error:
                    log.warning("mailed_answers_not_read", error=str(error))
                await asyncio.sleep(LOOK_S)
        finally:
            if self._leaving:
                await asyncio.wait(self._leaving, timeout=HAND_OVER_S)

    async def look(self) -> None:
        """Mail what nobody has taken in time.

        Raises: BusError: Redis is away; the rest is looked at again.
        """
        for turn in await self._store.members(_DUE):
            due = _due(await self._store.get(f"due:{turn}"))
            if due is None or await self._store.get(f"got:{turn}"):
                await self._settle(turn)
            elif (age_s := (self._now() - due.since).total_seconds()) > DAY_S:
                log.warning(
                    "answer_not_mailed", turn=turn, reason="a page was open for a day and took nothing"
                )
                await self._settle(turn)
            elif age_s >= WAIT_S and not await self._store.get(f"here:{due.message.conversation}"):
                task = asyncio.create_task(self._mail(turn, due), name="web-mail")
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)
                await asyncio.shield(task)

    async def _mail(self, turn: str, due: Due) -> None:
        assert self._out is not None, "nothing is expected without it"
        left = await self._store.get(f"leave:{due.message.conversation}")
        if left == "":
            await self._settle(turn)
            return
        email = left or due.email
        # Claimed before it leaves: a process that dies in between costs a mail, and nobody gets two.
        if not await self._store.claim(f"mailed:{turn}", _SENT_S):
            await self._settle(turn)
            return
        count = f"mails:{hashlib.sha256(email.lower().encode()).hexdigest()[:32]}"
        if await self._store.increment(count, DAY_S) > MAILS_PER_DAY:
            log.warning("answer_not_mailed", turn=turn, reason="the address got enough for today")
        else:
            try:
                await self._out.mail(due.message, email)
                log.info("answer_mailed", turn=turn)
            except (BusError, RetryLater) as error:
                log.warning("answer_mailed_later", turn=turn, error=str(error))
                await self._store.increment(count, DAY_S, -1)
                await self._store.delete(f"mailed:{turn}")
                return
            except Exception:
                log.exception("answer_not_mailed", turn=turn, reason="the mail could not be handed over")
        await self._settle(turn)

    async def _settle(self, turn: str) -> None:
        await self._store.discard(_DUE, turn)
        await self._store.delete(f"due:{turn}")


def _due(record: str | None) -> Due | None:
    try:
        return None if record is None else Due.model_validate_json(record)
    except ValidationError:
        log.warning("mailed_answer_unreadable")
        return None
