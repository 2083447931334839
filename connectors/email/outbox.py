"""Mail the connector writes on its own account, kept until it has left.

Replies come by the outbound stream and are kept there. What is sent without a turn of the engine lies here, and
whatever happens to the process, each is sent once: its progress is kept in the same store.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from connectors.base import Progress
from connectors.email.state import digest
from connectors.store import Store
from hub.errors import BusError, DeliveryRefused, RetryLater
from hub.messages import OutboundMessage, utc_now

log = structlog.get_logger(__name__)

WAITING = "email:outbox"
LOOK_EVERY_S = 30.0
"""Other processes put mail here, too."""
CLAIM_S = 900.0
"""How long one process has for an attempt: longer than any takes, look-ups of unclear mail included."""
STOP_S = 20.0
"""How long a stop waits for a mail that is being sent."""
MAX_ATTEMPTS = 5
"""Attempts that end in an error nobody has foreseen."""
PROGRESS_KEPT_S = 7 * 86_400.0

Send = Callable[[OutboundMessage, Progress], Awaitable[None]]
Quarantine = Callable[[str, str, bytes], Awaitable[None]]
"""Put something aside: where it came from, why, and its bytes."""


class Waiting(BaseModel):
    """One mail that is to be sent."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    message: OutboundMessage
    due_at: AwareDatetime = Field(default_factory=utc_now)
    lines_from: str = ""
    """Name of a set of lines that gathers until the mail leaves, and then stands below its text."""


class Outbox:
    """The mails that wait, of all accounts.

    Args:
        send: sends one mail.
        give_up_s: so long after it was due a mail is tried.
        quarantine: is told of what can never be sent.
    """

    def __init__(self, store: Store, send: Send, *, give_up_s: float, quarantine: Quarantine) -> None:
        self._store = store
        self._send = send
        self._give_up_s = give_up_s
        self._quarantine = quarantine
        self._changed = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()

    async def put(self, waiting: Waiting) -> None:
        """Keep a mail until it has left; the same one twice is one."""
        await put(self._store, waiting)
        self._changed.set()

    async def run(self) -> None:
        """Send what is due until cancelled; what is being sent then is not cut off."""
        try:
            while True:
                self._changed.clear()
                try:
                    next_s = await self._send_due()
                except BusError as error:
                    log.warning("outbox_paused", reason=str(error))
                    next_s = LOOK_EVERY_S
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(next_s):
                        await self._changed.wait()
        finally:
            if self._sending:
                await asyncio.wait(self._sending, timeout=STOP_S)

    async def _send_due(self) -> float:
        """Send what is due.

        Returns: seconds until the next look.
        """
        next_s = LOOK_EVERY_S
        for member in await self._store.members(WAITING):
            try:
                waiting = Waiting.model_validate_json(member)
            except ValidationError as error:
                await self._put_aside(member, f"a mail that waits has {error.error_count()} faults")
                continue
            due_in_s = (waiting.due_at - utc_now()).total_seconds()
            if due_in_s > 0:
                next_s = min(next_s, due_in_s)
                continue
            task = asyncio.create_task(self._attempt(member, waiting), name="mail outbox attempt")
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
            await asyncio.shield(task)
        return next_s

    async def _attempt(self, member: str, waiting: Waiting) -> None:
        """Send one mail, unless another process is about to; it goes from the set once nothing is left to do for it."""
        message, claim = waiting.message, f"email:claim:{digest(waiting.message.reply_id)}"
        if not await self._store.claim(claim, CLAIM_S):
            return
        progress = await StoredProgress.load(self._store, message.reply_id)
        try:
            await self._send(await self._complete(waiting), progress)
        except DeliveryRefused as error:
            log.warning("notice_refused", reply_id=message.reply_id, reason=str(error))
        except RetryLater as error:
            if utc_now() - waiting.due_at <= timedelta(seconds=self._give_up_s):
                log.warning("notice_delayed", reply_id=message.reply_id, reason=error.reason)
                # Nobody tries again before the server's own time is over.
                await self._store.set(claim, "1", max(error.retry_after_s, LOOK_EVERY_S))
                return
            await self._put_aside(member, f"given up: {error.reason}")
        except BusError:
            with contextlib.suppress(BusError):
                await self._store.delete(claim)
            raise
        except Exception as error:
            log.exception("notice_failed", reply_id=message.reply_id)
            failures = await self._store.increment(f"{claim}:failures", PROGRESS_KEPT_S)
            if failures < MAX_ATTEMPTS:
                await self._store.set(claim, "1", LOOK_EVERY_S)
                return
            await self._put_aside(member, f"failed {failures} times: {type(error).__name__}")
        await self._forget(member, waiting)
        await self._store.delete(claim)

    async def _forget(self, member: str, waiting: Waiting) -> None:
        await self._store.discard(WAITING, member)
        if waiting.lines_from:
            await self._store.delete(waiting.lines_from)
            await self._store.delete(count_key(waiting.lines_from))

    async def _put_aside(self, member: str, reason: str) -> None:
        log.error("mail_given_up", reason=reason)
        await self._quarantine("email:outbox", reason, member.encode("utf-8", "replace"))
        await self._store.discard(WAITING, member)

    async def _complete(self, waiting: Waiting) -> OutboundMessage:
        if not waiting.lines_from:
            return waiting.message
        lines = await self._store.members(waiting.lines_from)
        count = int(await self._store.get(count_key(waiting.lines_from)) or len(lines))
        if count > len(lines):
            lines.append("...")
        text = waiting.message.text.format(count=count) + "\n\n" + "\n".join(f"- {line}" for line in lines)
        return waiting.message.model_copy(update={"text": text})


async def put(store: Store, waiting: Waiting) -> None:
    """Keep a mail until one of the processes that watch mailboxes has sent it; the same one twice is one.

    Raises: BusError: it was not kept.
    """
    await store.add(WAITING, waiting.model_dump_json())


def count_key(lines_from: str) -> str:
    """Name the counter of all that belongs to a set of lines, of which the set may hold a part only."""
    return f"{lines_from}:count"


class StoredProgress:
    """How far one such mail has come; see `connectors.base.Progress`."""

    def __init__(self, store: Store, key: str, state: str) -> None:
        self._store = store
        self._key = key
        placed = state.removeprefix("placed:") if state.startswith("placed:") else None
        self.replaced_parts: Mapping[int, str] = {}
        self.placed_parts: Mapping[int, str] = {} if placed is None else {0: placed}
        self.unclear_part = 0 if state == "begun" else None

    @classmethod
    async def load(cls, store: Store, reply_id: str) -> "StoredProgress":
        """Read what earlier attempts have recorded."""
        key = f"email:notice:{digest(reply_id)}"
        return cls(store, key, await store.get(key) or "")

    async def begin(self, part: int) -> None:
        """Record that the mail is about to leave."""
        await self._store.set(self._key, "begun", PROGRESS_KEPT_S)

    async def placed(self, part: int, remote_id: str) -> None:
        """Record that the server has it."""
        await self._store.set(self._key, f"placed:{remote_id}", PROGRESS_KEPT_S)
