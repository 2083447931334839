"""The bus as the processes of a run use it: the product's own, and each call of a script leaves a line in the history."""

import time
from collections.abc import Sequence
from typing import Any

from hub.bus.bus import INBOUND, Bus
from hub.bus.keys import Keys
from hub.bus.queue import Busy, Commit, Lease, OrderedQueue, Published
from hub.errors import BusError, LeaseLost, TurnCancelled
from hub.messages import InboundMessage
from hub.settings import BusSettings
from tests.faults.history import History


def tag_of(text: str) -> str:
    """Return the name that a run gave to a message or to what a reply is for; it is the second word."""
    words = text.split()
    return words[1] if len(words) > 1 and words[1].startswith("t") else ""


class RecordedQueue(OrderedQueue):
    """Writes down what it was answered; where Redis is away instead, that nothing is known."""

    history: History

    async def enter(self, entry: str, lane: str, owner: str) -> Lease | Busy | None:
        """Enter a lane."""
        began = time.monotonic()
        try:
            entered = await super().enter(entry, lane, owner)
        except BusError:
            self._write("enter", lane, began, result="unknown")
            raise
        told = {"result": "DONE"} if entered is None else {"result": "BUSY"}
        if isinstance(entered, Lease):
            told = {"result": "RUN", **_granted(entered)}
        self._write("enter", lane, began, **told)
        return entered

    async def commit(self, lease: Lease, owner: str, commit: Commit) -> Lease | None:
        """Commit a head."""
        began = time.monotonic()
        known = {"done": lease.head, "done_fence": lease.fence, "died": bool(commit.dead_letter)}
        try:
            following = await super().commit(lease, owner, commit)
        except (LeaseLost, TurnCancelled) as refusal:
            self._write("commit", lease.lane, began, result=type(refusal).__name__, **known)
            raise
        except BusError:
            self._write("commit", lease.lane, began, result="unknown", **known)
            raise
        granted = {"result": "RUN", **_granted(following)} if following else {"result": "IDLE"}
        self._write("commit", lease.lane, began, **known, **granted)
        return following

    async def nack(self, lease: Lease, *, delay_s: float, counts: bool) -> None:
        """Give a head back."""
        self._write("nack", lease.lane, time.monotonic(), head=lease.head, delay_s=delay_s)
        await super().nack(lease, delay_s=delay_s, counts=counts)

    async def run_script(self, script: str, keys: list[str], arguments: Sequence[Any], **how: Any) -> Any:
        """Run a script; what senders record is written down as well."""
        if script == "send_begin":
            # Before it runs: the request may leave as soon as Redis has it.
            self.history.write("begin", reply=keys[1], part=arguments[1])
        answer = await super().run_script(script, keys, arguments, **how)
        if script == "send_placed":
            self.history.write("placed", reply=keys[0], part=arguments[0])
        elif script == "send_undone" or (script == "send_begin" and not answer):
            self.history.write("refused", reply=keys[1], part=arguments[1])
        return answer

    def _write(self, op: str, lane: str, began: float, **fields: Any) -> None:
        self.history.write(op, queue=self.name, lane=lane, began=began, **fields)


def _granted(lease: Lease) -> dict[str, Any]:
    return {"head": lease.head, "fence": lease.fence, "attempts": lease.attempts, "crashes": lease.crashes}


class RecordedBus(Bus):
    """Opens queues that write down what they do."""

    def __init__(self, url: str, settings: BusSettings, history: History) -> None:
        super().__init__(url, settings)
        self._history = history

    def queue(self, name: str, shard: int) -> OrderedQueue:
        """Return one shard of a queue."""
        if (name, shard) not in self._queues:
            group = "engine" if name == INBOUND else "senders"
            queue = RecordedQueue(self.redis, Keys(shard), name, group, self._limits)
            queue.history = self._history
            self._queues[name, shard] = queue
        return self._queues[name, shard]

    async def publish(self, message: InboundMessage) -> Published:
        """Store a message."""
        known = {"began": time.monotonic(), "tag": tag_of(message.text), "conversation": message.conversation}
        try:
            published = await super().publish(message)
        except BusError:
            self._history.write("publish", result="unknown", turn="", **known)
            raise
        self._history.write(
            "publish",
            **known,
            result=published.status,
            turn=published.entry,
            backlog=published.backlog,
            lane=published.lane,
        )
        return published
