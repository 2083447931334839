"""The name of every key in Redis, built in one place.

All keys of one shard carry the same hash tag `{s}`, so that one script's keys share a slot of a Redis Cluster.
"""

import hashlib
import re
import zlib
from dataclasses import dataclass

_PLAIN = re.compile(r"[A-Za-z0-9:._@-]{1,160}")


def shard_of(conversation: str, shards: int) -> int:
    """Choose the shard of a conversation: 0 to `shards` - 1, always the same for the same name."""
    return zlib.crc32(conversation.encode()) % shards


def plain(name: str) -> str:
    """Make a name from outside safe inside a key; long or unusual ones become their digest."""
    if _PLAIN.fullmatch(name):
        return name
    return "h:" + hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names of one shard."""

    shard: int = 0

    def _key(self, *parts: str) -> str:
        return ":".join((f"hubbub:{{{self.shard}}}", *parts))

    def prefix(self, kind: str) -> str:
        """What the keys of a kind begin with, such as those of all histories."""
        return self._key(kind, "")

    def stream(self, queue: str) -> str:
        """Stream of a queue: `inbound` or `outbound:<connector>`."""
        return self._key(queue)

    def lane(self, queue: str, lane: str) -> str:
        """List of the entry ids of one conversation that wait or run; its head is the current one."""
        return self._key("lane", queue, lane)

    def lease(self, queue: str, lane: str) -> str:
        """Hash that says who works on a lane, until when, and on which entry."""
        return self._key("lease", queue, lane)

    def cancelled(self, queue: str, lane: str) -> str:
        """Hash of the entries of a lane that were cancelled, and of how many each message has cancelled."""
        return self._key("cancelled", queue, lane)

    def stopped(self, turn: str) -> str:
        """Hash that stands for a while after a turn has ended as cancelled."""
        return self._key("stopped", turn)

    def seen(self, external_key: str) -> str:
        """Entry id of a message that was accepted before."""
        return self._key("seen", plain(external_key))

    def origin(self, conversation: str, origin: str) -> str:
        """Hash of the entries that came of one message of a channel: the latest, and what each edit replaces."""
        return self._key("origin", conversation, plain(origin))

    @property
    def fence(self) -> str:
        """Counter that every lease takes its fence from; never reset."""
        return self._key("fence")

    @property
    def fence_source(self) -> str:
        """Replication id of the server that gave out the latest fence."""
        return self._key("fence-source")

    def sent(self, reply_id: str) -> str:
        """Hash with the state of one reply's delivery."""
        return self._key("sent", plain(reply_id))

    def judgements(self, turn: str) -> str:
        """Hash of what people think of an answer, by person."""
        return self._key("judgements", plain(turn))

    def history(self, conversation: str) -> str:
        """List of the latest turns, oldest first."""
        return self._key("history", conversation)

    def facts(self, conversation: str, person: str = "") -> str:
        """Hash of what a person told about themselves; in a group each has one of their own."""
        return self._key("facts", conversation, *([plain(person)] if person else []))

    def summary(self, conversation: str) -> str:
        """Hash of what was asked and told before the window."""
        return self._key("summary", conversation)

    def preferences(self, conversation: str) -> str:
        """Hash of what was chosen for a conversation."""
        return self._key("preferences", conversation)

    def style(self, conversation: str, person: str = "") -> str:
        """Hash of how a person writes and wants to be answered; in a group each has one of their own."""
        return self._key("style", conversation, *([plain(person)] if person else []))

    def version(self, conversation: str) -> str:
        """Hash whose field `version` changes with all that is remembered of a conversation; there from its first turn on."""
        return self._key("version", conversation)

    def partial(self, turn: str) -> str:
        """The text of a running turn so far."""
        return self._key("partial", turn)

    @property
    def deltas(self) -> str:
        """Capped stream of live text that every web process tails."""
        return self._key("deltas")

    @property
    def events(self) -> str:
        """Stream of facts about turns and deliveries, for metrics and archive."""
        return self._key("events")

    @property
    def dead(self) -> str:
        """Stream of dead letters."""
        return self._key("dead")

    def replayed(self, letter: str) -> str:
        """Hash that tells as which entry a dead letter was put back."""
        return self._key("replayed", letter)

    @property
    def quarantine(self) -> str:
        """Capped stream that records input no attempt could make valid."""
        return self._key("quarantine")

    @property
    def control(self) -> str:
        """Capped stream of orders to every process."""
        return self._key("control")

    def calls(self, service: str) -> str:
        """Stream of requests between processes."""
        return self._key("calls", service)

    def answers(self, caller: str) -> str:
        """Stream with the answers to one process's requests."""
        return self._key("answers", caller)

    def rewritten(self, stream: str) -> str:
        """The copy of a stream that is to take its place."""
        return self._key("rewritten", stream.removeprefix(self._key("")))

    def alive(self, role: str) -> str:
        """Sorted set of the processes of a role, by the second their mark runs out."""
        return self._key("alive", role)

    def model_states(self, engine: str) -> str:
        """What the models of one engine do."""
        return self._key("models", engine)

    def told(self, role: str) -> str:
        """Hash of what the processes of a role tell of themselves, by their marks."""
        return self._key("told", role)

    def state(self, owner: str, name: str) -> str:
        """Small state of a connector, such as a mailbox watermark."""
        return self._key("state", owner, plain(name))

    def egress(self, kind: str) -> str:
        """Where processes have connected to: their `counts`, and when `first` and `last`; only in the first shard."""
        return self._key("egress", kind)

    def known(self, principal: str) -> str:
        """Hash of how somebody is addressed (`as`) and where in this shard they wrote (`in:<conversation>`)."""
        return self._key("known", principal)

    def receipts(self, conversation: str) -> str:
        """List of what the latest answers were made of, so that they can be made again."""
        return self._key("receipts", conversation)

    def erased(self, name: str) -> str:
        """Mark that a conversation or a principal is being erased; it stands for as long as that takes.

        That of a turn, or of a message by its external key, stands until nobody can work on it any more.
        The name is digested: what Redis writes to its files of the mark tells nobody whose it was.
        """
        return self._key(
            "erased", hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=16).hexdigest()
        )

    def people(self, name: str) -> str:
        """What is known of who is who; only in the first shard."""
        return self._key("people", name)

    def limit(self, name: str) -> str:
        """Rate limit state."""
        return self._key("limit", plain(name))

    def cached(self, kind: str, digest: str) -> str:
        """An answer of some kind that may be given again."""
        return self._key("cache", kind, digest)

    def cache_index(self, kind: str) -> str:
        """Sorted set of the kept answers' keys, by the millisecond they go."""
        return self._key("cache-index", kind)

    def cache_owner(self, kind: str, owner: str) -> str:
        """Sorted set of the kept answers' keys that somebody's questions have made, by the millisecond they go."""
        return self._key("cache-owner", kind, plain(owner))

    def cache_counts(self, kind: str) -> str:
        """Hash that counts the look-ups: `lookups`, and of these `hits` and `misses`."""
        return self._key("cache-counts", kind)
