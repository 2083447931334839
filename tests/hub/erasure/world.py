"""Two people who use every part of the hub, and who say words that stand nowhere else.

What they leave is written by the parts themselves, not by the tests: worker, senders, connectors' state, live text.
"""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import redis
from pydantic import SecretStr
from redis.asyncio import Redis

from connectors.base import Progress
from connectors.email.no_answers import NoAnswers
from connectors.email.outbox import Waiting, put
from connectors.email.threads import Thread, Threads
from connectors.runner import Sender
from connectors.telegram.albums import Albums
from connectors.telegram.edits import Edits
from connectors.telegram.events import Incoming, Me, Place
from connectors.telegram.updates import message_at
from connectors.web.kept_files import KeptFiles
from connectors.web.mailed import MailedAnswers
from connectors.web.visitors import Visitor
from engine.answers import Answer, Recollection, TextSink
from engine.memory.conversation import ConversationMemory
from engine.worker import Worker
from hub.app.erasure import make_eraser
from hub.bus.bus import Bus, outbound
from hub.bus.cache import AnswerCache
from hub.bus.connection import connect_reader
from hub.bus.feedback import FeedbackBook
from hub.bus.queue import Commit, Lease
from hub.bus.state import State
from hub.erasure.eraser import Eraser, Pace
from hub.erasure.scanner import scan_files, scan_redis
from hub.interactions import InteractionLog
from hub.live import DeltaWriter, Live
from hub.messages import Address, Attachment, InboundMessage, OutboundMessage
from hub.people import People, principal_of
from hub.settings import Settings
from knowledge.index.redis import RedisIndex
from knowledge.index.redis_keys import index_name
from tests.engine.bench import said
from tests.hub.erasure import database
from tests.servers.redis import RedisServer

BOT = "123456"
GROUP = "-100777"
MAILBOX = "help@example.org"


@dataclass(frozen=True)
class Member:
    """One of the two."""

    name: str
    """Their secret word begins with it, and it stands in all that they say."""
    number: str
    """On Telegram."""

    @property
    def word(self) -> str:
        """A word that stands nowhere else."""
        return f"{self.name}canary{self.number}"

    @property
    def mail(self) -> str:
        """Their address, which holds the word."""
        return f"{self.word}@example.com".lower()

    @property
    def visitor(self) -> str:
        """Their id in the widget, which holds the word."""
        return f"site:shop:{self.word}"

    def telegram(self, *, group: bool = False) -> Address:
        """Return where they write on Telegram."""
        chat = GROUP if group else self.number
        return Address(
            connector="telegram",
            account=BOT,
            chat=chat,
            person=self.number,
            is_group=group,
            is_verified=True,
        )

    @property
    def web(self) -> Address:
        """Return where they write in the widget."""
        return Address(
            connector="web", account="shop", chat=self.visitor, person=self.visitor, is_verified=True
        )


ANA = Member("Ana", "41414141")
BEN = Member("Ben", "52525252")


class Placing:
    """A channel that takes every reply, and shows it live as the widget does."""

    name = "telegram"

    def __init__(self, live: Live) -> None:
        self._live = live

    async def run(self, publish: Any) -> None:
        """Take nothing in."""

    async def send(self, message: OutboundMessage, progress: Progress) -> None:
        """Take it."""
        await progress.begin(0)
        await self._live.announce(message)
        await progress.placed(0, f"remote-{message.reply_id}")


class Announcing(Placing):
    """A channel that notes nothing of its requests, as saying a reply twice would change nothing."""

    async def send(self, message: OutboundMessage, progress: Progress) -> None:
        """Take it."""
        await self._live.announce(message)


class World:
    """A hub without processes: what they would do is done by hand."""

    def __init__(self, server: RedisServer, data: Path, *, database_url: str = "") -> None:
        self.settings = Settings(
            data=data,
            database_url=SecretStr(database_url),
            bus={"redis_url": server.url},
            email={"accounts": [{"address": MAILBOX, "imap_host": "x", "smtp_host": "x"}]},
        )
        self.bus = Bus(server.url, self.settings.bus)
        self.redis: Redis = self.bus.redis
        self.client: Any = self.redis
        self._reader = connect_reader(server.url)
        self.live = Live(self.redis, self._reader)
        self.people = People(self.redis)
        self.memory = ConversationMemory(self.bus, self.people, history_turns=50, recalled_turns=1)
        self.log = data / "log.jsonl"

    async def close(self) -> None:
        """Close the connections."""
        await self._reader.aclose()
        await self.bus.close()

    def eraser(self, redis: Redis | None = None, *, settle_s: float = 0.01) -> Eraser:
        """Put an eraser together; with another client, one that may die."""
        bus = self.bus if redis is None else Bus(self.bus.url, self.settings.bus)
        if redis is not None:
            bus.redis = redis
        eraser = make_eraser(self.settings, bus)
        eraser._pace = Pace(settle_s=settle_s)
        return eraser

    async def answer(self, address: Address, conversation: str, text: str) -> str:
        """Let a message be asked, answered and delivered; returns its turn."""
        entry = await self.ask(address, conversation, text)
        await self.work(conversation)
        await self.deliver(address.connector, conversation)
        return entry

    async def ask(self, address: Address, conversation: str, text: str) -> str:
        """Publish a message."""
        published = await self.bus.publish(self.message(address, conversation, text))
        assert published.status == "OK", published
        return published.entry

    def message(self, address: Address, conversation: str, text: str) -> InboundMessage:
        """Make a message with a key and an origin of its own."""
        origin = secrets.token_hex(4)
        key = f"web:{address.person}:{origin}" if address.connector == "web" else f"tg:{BOT}:{origin}"
        return InboundMessage(
            external_key=key,
            origin=origin,
            conversation=conversation,
            address=address,
            text=text,
            stream=True,
        )

    def worker(self) -> Worker:
        """Make a worker that answers with what was asked, and learns a fact of it."""
        return Worker(self.bus, self.live, _Echo(), memory=self.memory, turn_timeout_s=20)

    async def enter(self, queue: str, lane: str, owner: str = "me") -> Lease:
        """Take the lease of the first entry of a lane."""
        head = await self.client.lindex(self.bus.keys(lane).lane(queue, lane), 0)
        lease = await self.bus.queue(queue, 0).enter(head.decode(), lane, owner)
        assert isinstance(lease, Lease), lease
        return lease

    async def work(self, conversation: str) -> None:
        """Answer what waits in a conversation."""
        lease = await self.enter("inbound", conversation)
        await self.commit("inbound", lease, await self.worker().handle(lease))

    async def deliver(self, connector: str, conversation: str, channel: Placing | None = None) -> None:
        """Send what waits for a destination."""
        queue = outbound(connector)
        lease = await self.enter(queue, conversation)
        channel = channel or Placing(self.live)
        channel.name = connector
        sender = Sender(self.bus, channel, give_up_s=60, recorder=InteractionLog(self.log))
        await self.commit(queue, lease, await sender.deliver(lease))

    async def commit(self, queue: str, lease: Lease, commit: Commit) -> None:
        """Finish a head; what stands behind it is given back."""
        following = await self.bus.queue(queue, 0).commit(lease, "me", commit)
        if following is not None:
            await self.bus.queue(queue, 0).nack(following, delay_s=0, counts=False)

    async def live_through(self, who: Member) -> None:
        """Let somebody use everything."""
        private, web = f"telegram-{BOT}-{who.number}", Visitor(who.visitor, "shop").conversation
        turn = await self.answer(who.telegram(), private, f"My name is {who.word}. Where is my {who.word}?")
        await self.answer(who.telegram(), private, f"And the second {who.word}?")
        await self.answer(who.web, web, f"I am {who.word} on the page.")
        for text in ("What is one", "What is two", "What is three"):
            await self.answer(who.telegram(group=True), f"telegram-{BOT}-{GROUP}", f"{text} {who.word}?")
        code = await self.people.offer(who.telegram(), f"{who.name}-code")
        assert await self.people.redeem(code, who.web, f"{who.name}-redeem") == "joined"
        for connector, person in (("telegram", who.number), ("web", who.visitor)):
            book = FeedbackBook(self.redis, connector, shards=1)
            await book.feedback(turn, private, person, "up")
        await self._waiting(who, private, web)
        await self._dead(who)
        await self._telegram(who, turn)
        await self._mail(who)
        await self._web(who)
        chunk = await database.plant(self.settings, who.telegram(), private, turn, who.word)
        self.add_vector("m", chunk, who.word)
        digest = secrets.token_hex(8)
        cache = AnswerCache(self.redis, ttl_s=600)
        await cache.keep(digest, f"cached {who.word}".encode(), owner=principal_of(who.web))

    def add_vector(self, model: str, chunk: int, word: str) -> None:
        """Put the vector of a chunk into the index of a model in Redis, as engines do."""
        with redis.Redis.from_url(self.bus.url) as client:
            row = database.vector_of(word)
            index = RedisIndex(client, index_name(model), len(row))
            index.add(np.array([chunk], np.int64), row.reshape(1, -1))

    async def _waiting(self, who: Member, private: str, web: str) -> None:
        """Leave a running turn with half of its text shown, one that waits behind it, and a reply on its way."""
        await self.ask(who.telegram(), private, f"Running {who.word}")
        running = await self.enter("inbound", private)
        writer = DeltaWriter(self.redis, shards=1, turn=running.head, conversation=private)
        await writer.add(f"half a word of {who.word}")
        await writer.close()
        await self.ask(who.telegram(), private, f"Behind it {who.word}")
        await self.ask(who.web, web, f"Unsent {who.word}")
        await self.work(web)

    async def _dead(self, who: Member) -> None:
        """Let a message become a dead letter, and put input aside."""
        lost = f"telegram-{BOT}-{who.number}-9"
        await self.ask(who.telegram(), lost, f"Fatal {who.word}")
        await self.commit("inbound", await self.enter("inbound", lost), Commit(dead_letter="it failed"))
        await self.bus.dead_letters.quarantine(f"email:{MAILBOX}", f"two mails of {who.mail}", b"body")

    async def _telegram(self, who: Member, turn: str) -> None:
        store = State(self.redis, "telegram")
        me, place = Me(int(BOT), "bot"), Place(chat=int(who.number), topic=None, private=True)

        async def hand_in(album: Incoming) -> bool:
            raise AssertionError(album)

        said = message_at(place, f"album {who.word}", key="k", me=me, person=who.number)
        piece = Incoming(message=said, place=place, message_id=7, album="99")
        albums = Albums(int(BOT), store, hand_in, self.bus.dead_letters.quarantine)
        await albums.add(piece)
        await albums.close()
        await Edits(int(BOT), store).remember(piece)
        await store.set(f"votes:{BOT}:{turn}", f'{{"{who.number}": "up"}}', 600)
        await store.set(f"votes:{BOT}:1-1", f'{{"{ANA.number}": "up", "{BEN.number}": "down"}}', 600)

    async def _mail(self, who: Member) -> None:
        store = State(self.redis, "email")
        thread = Thread(account=MAILBOX, root=f"<root-{who.word}@example.com>", participant=who.mail)
        await Threads(store, MAILBOX).remember(f"<m1-{who.word}@example.com>", thread)
        address = Address(
            connector="email",
            account=MAILBOX,
            chat=who.mail,
            thread=thread.root,
            person=thread.conversation,
        )
        await self.ask(address, thread.conversation, f"A mail of {who.word}")
        await self.work(thread.conversation)
        await NoAnswers(store, MAILBOX).add(who.mail)
        reply = OutboundMessage(
            reply_id=f"{who.name}:0",
            turn=who.name,
            conversation=thread.conversation,
            address=address,
            text=f"a notice to {who.word}",
            reply={"participant": who.mail},
        )
        await put(store, Waiting(message=reply))
        await store.increment(f"email:limit:thread:{thread.conversation}", 600)

    async def _web(self, who: Member) -> None:
        store = State(self.redis, "web")
        visitor = Visitor(who.visitor, "shop")
        attachment = Attachment(name=f"{who.word}.txt", media_type="text/plain", size_bytes=3, text=who.word)
        await KeptFiles(store).keep(visitor, attachment)
        mailed = MailedAnswers(store, _Post())
        await mailed.leave(visitor.conversation, who.mail)
        await mailed.expect(
            OutboundMessage(
                reply_id=f"{who.number}-0:0",
                turn=f"{who.number}-0",
                conversation=visitor.conversation,
                address=who.web,
                text=f"late answer to {who.word}",
            )
        )
        assert await store.members("due")

    async def files_hold(self, *folders: Path, words: list[str]) -> list[str]:
        """Return where words stand in files or in Redis."""
        found = [one.place for one in scan_files(folders, words)]
        return found + [one.place async for one in scan_redis(self.redis, words)]

    async def picture_of(self, who: Member) -> dict[str, object]:
        """Return everything in Redis and in the database that names somebody, and their lines of the log."""
        marks = [who.word.encode(), who.number.encode(), who.mail.encode()]
        picture: dict[str, object] = {}
        async for key in self.client.scan_iter():
            for place, value in await _parts(self.client, key):
                if any(mark in place.encode() + value for mark in marks):
                    picture[f"{key.decode()} {place}"] = value
        lines = self.log.read_bytes().splitlines() if self.log.exists() else []
        words = [who.word, f"'{who.number}'"]
        picture["database"] = await database.rows_naming(self.settings, words)
        picture["log.jsonl"] = [line for line in lines if any(mark in line for mark in marks)]
        return picture


async def _parts(client: Any, key: bytes) -> list[tuple[str, bytes]]:
    """Take a value apart, so that what several people share can be compared by person."""
    match await client.type(key):
        case b"string":
            return _items(await client.get(key))
        case b"hash":
            fields = await client.hgetall(key)
            return [
                (f"{name.decode()} {line!r:.40}", line)
                for name, value in fields.items()
                for line in value.split(b"\n")
            ]
        case b"list":
            return [(f"{value!r:.40}", value) for value in await client.lrange(key, 0, -1)]
        case b"set":
            return [(f"{value!r:.40}", value) for value in await client.smembers(key)]
        case b"zset":
            return [
                (value.decode(), b"%f" % score)
                for value, score in await client.zrange(key, 0, -1, withscores=True)
            ]
        case b"stream":
            return [
                (entry.decode(), b"\n".join(part for pair in fields.items() for part in pair))
                for entry, fields in await client.xrange(key)
            ]
    return []


def _items(value: bytes) -> list[tuple[str, bytes]]:
    """Take votes apart by person; everything else is whole."""
    try:
        votes = json.loads(value)
    except ValueError:
        return [("", value)]
    if not isinstance(votes, dict) or not all(vote in ("up", "down") for vote in votes.values()):
        return [("", value)]
    return [(who, f"{who} {vote}".encode()) for who, vote in votes.items()]


class _Echo:
    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        await text.add(f"You said {message.text}")
        facts = {"name": f"The user's name is {message.text}"} if "name" in message.text else {}
        return said(f"You said {message.text}", facts=facts)


class _Post:
    async def mail(self, message: OutboundMessage, address: str) -> None:
        """Take a mail."""
