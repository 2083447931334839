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
from hub.text import canonical_address

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
HANDING_OVER_S = 30.0
"""How long one process has to hand an answer over before another one may."""
STOP_S = 5.0
"""How long a stop waits for an answer that is being handed over."""
MAILS_PER_DAY = 3
"""Answers one address gets in a day: nobody is flooded by what others leave in their name."""
ALL_MAILS_PER_DAY = 500
"""Answers all addresses get in a day that nobody has vouched for."""
ADDRESSES_PER_DAY = 10
"""Addresses one visitor may leave in a day."""
ADDRESSES_PER_NETWORK_DAY = 50
"""Addresses that may be left from one network address: a new visitor costs nothing to make up."""
_SENT_S = 7 * DAY_S
_KEPT_S = 7 * DAY_S
"""Of an answer that waits; longer than a hub is down."""
_DUE = "due"


class Left(Message):
    """An address that was left with a conversation."""

    email: str
    is_known: bool = False
    """Whether somebody vouches that it is the visitor's; else what the visitor wrote is not mailed there."""


class Due(Message):
    """An answer that waits to be confirmed."""

    left: Left
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

    async def leave(
        self, conversation: str, email: str, network_address: str = "", *, is_known: bool = False
    ) -> bool:
        """Keep an address with a conversation, or forget it when it is empty.

        Args:
            network_address: where the visitor is.
            is_known: whether somebody vouches that the address is the visitor's.

        Returns: False when too many were left there today.

        Raises: BusError: Redis is away.
        """
        left = Left(email=email, is_known=is_known)
        if not email:
            # Kept as empty, which tells it from one whose day has passed: what waits already is not mailed either.
            await self._store.set(f"leave:{conversation}", left.model_dump_json(), LEAVE_S)
            return True
        if await self._store.increment(f"leaves:{conversation}", DAY_S) > ADDRESSES_PER_DAY:
            return False
        from_there = f"leaves-from:{network_address}"
        if network_address and await self._store.increment(from_there, DAY_S) > ADDRESSES_PER_NETWORK_DAY:
            return False
        await self._store.set(f"leave:{conversation}", left.model_dump_json(), LEAVE_S)
        await self.note_presence(conversation)
        return True

    async def note_presence(self, conversation: str) -> None:
        """Note that a page is open; nothing is written for visitors who left no address.

        Raises: BusError: Redis is away.
        """
        left = await self._left(conversation) if self.is_on else None
        if left is not None and left.email:
            await self._store.set(f"here:{conversation}", "1", PRESENT_S)

    async def got(self, turn: str) -> None:
        """Note that a page has this answer.

        Raises: BusError: Redis is away.
        """
        if self.is_on and await self._store.get(f"due:{turn}"):
            await self._store.set(f"got:{turn}", "1", _KEPT_S)
            await self._settle(turn)

    async def expect(self, message: OutboundMessage) -> None:
        """Begin to wait for a page to take an answer; called before any page is told of it.

        Raises: BusError: Redis is away.
        """
        if not self.is_on or message.kind == "cancelled":
            return
        left = await self._left(message.conversation)
        if left is None or not left.email or await self._store.get(f"due:{message.turn}"):
            return
        due = Due(left=left, since=self._now(), message=message)
        # The set comes last: what stands in it always has its record.
        await self._store.set(f"due:{message.turn}", due.model_dump_json(), _KEPT_S)
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
                await asyncio.wait(self._leaving, timeout=STOP_S)

    async def look(self) -> None:
        """Mail what nobody has taken in time.

        Raises: BusError: Redis is away; the rest is looked at again.
        """
        for turn in await self._store.members(_DUE):
            due = _due(await self._store.get(f"due:{turn}"))
            if due is None or await self._store.get(f"got:{turn}"):
                await self._settle(turn)
                continue
            age_s = (self._now() - due.since).total_seconds()
            if await self._store.get(f"here:{due.message.conversation}"):
                if age_s > DAY_S:
                    reason = "a page was open for a day and took nothing"
                    log.warning("answer_not_mailed", turn=turn, reason=reason)
                    await self._settle(turn)
            elif age_s >= WAIT_S:
                task = asyncio.create_task(self._mail(turn, due), name="web-mail")
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)
                await asyncio.shield(task)

    async def _mail(self, turn: str, due: Due) -> None:
        """Hand an answer over, which may be done twice: whoever sends it knows it by its id, and sends it once."""
        assert self._out is not None, "nothing is expected without it"
        left = await self._left(due.message.conversation) or due.left
        if not left.email or await self._store.get(f"mailed:{turn}"):
            await self._settle(turn)
            return
        if not await self._store.claim(f"handing:{turn}", HANDING_OVER_S):
            return
        if not await self._is_within_limits(turn, left):
            log.warning("answer_not_mailed", turn=turn, reason="the address got enough for today")
            await self._settle(turn)
            return
        # Anybody can leave anybody's address: nobody is sent what a stranger wants them to read.
        message = due.message if left.is_known else due.message.model_copy(update={"question": ""})
        try:
            await self._out.mail(message, left.email)
        except (BusError, RetryLater) as error:
            log.warning("answer_mailed_later", turn=turn, error=str(error))
            return
        except Exception:
            # It waits on: whatever is wrong may be mended before its time is over.
            log.exception("answer_mailed_later", turn=turn)
            return
        await self._store.set(f"mailed:{turn}", "1", _SENT_S)
        log.info("answer_mailed", turn=turn)
        await self._settle(turn)

    async def _is_within_limits(self, turn: str, left: Left) -> bool:
        """Count a mail, once however often it is handed over."""
        if not await self._store.claim(f"counted:{turn}", _SENT_S):
            return True
        if await self._store.increment(mails_key(left.email), DAY_S) > MAILS_PER_DAY:
            return False
        return left.is_known or await self._store.increment("mails", DAY_S) <= ALL_MAILS_PER_DAY

    async def _left(self, conversation: str) -> Left | None:
        """Return the address of a conversation; one that is empty was taken back."""
        return read_left(await self._store.get(f"leave:{conversation}"))

    async def _settle(self, turn: str) -> None:
        await self._store.discard(_DUE, turn)
        await self._store.delete(f"due:{turn}")


def mails_key(email: str) -> str:
    """Name the counter of the mails of one mailbox."""
    return f"mails:{hashlib.sha256(canonical_address(email).encode()).hexdigest()[:32]}"


def read_left(record: str | None) -> Left | None:
    """Read what is kept of an address that was left."""
    try:
        return None if record is None else Left.model_validate_json(record)
    except ValidationError:
        return None


def _due(record: str | None) -> Due | None:
    try:
        return None if record is None else Due.model_validate_json(record)
    except ValidationError:
        log.error("mailed_answer_unreadable")
        return None
