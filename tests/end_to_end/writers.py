"""People who write on every channel without a pause, as patient as real programs are: what failed is sent again."""

import asyncio
import contextlib
import email
import email.policy
import itertools
import random
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

import aiohttp

from tests.emulators.bot_api import BotApi
from tests.end_to_end.people import HUB, JANE
from tests.servers.dovecot import Dovecot
from tests.servers.smtp import SmtpServer

AGAIN = {409, 429, 502, 503, 504}
"""What a program that repeats its request by the same Idempotency-Key waits for; 502 and 504 are nginx's own."""
PATIENCE_S = 10.0
"""How long a request or a page waits before it begins anew."""
_numbers = itertools.count(1000)


@dataclass
class Said:
    """One conversation, as its person remembers it."""

    channel: str
    name: str
    questions: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    turns: list[str] = field(default_factory=list)
    """Ids of the answers, where the channel tells them."""

    def ask(self) -> str:
        """Think of a question that nobody has asked before."""
        self.questions.append(f"What is {next(_numbers)} + 7?")
        return self.questions[-1]


def sum_of(question: str) -> str:
    """Return what has to stand in the answer to a question."""
    return str(int(question.split()[2]) + 7)


@dataclass
class Front:
    """Where the hub is for the world."""

    url: str
    key: str
    tls: ssl.SSLContext


class Writers:
    """Conversations on every channel; each goes on until `over` is set and its last question is answered."""

    def __init__(self, front: Front, dice: random.Random) -> None:
        self.over = asyncio.Event()
        self.said: list[Said] = []
        self.repeated = 0
        """Requests that were sent again."""
        self._front, self._dice = front, dice
        self._seed = dice.randrange(1 << 32)

    def begin(self, channel: str, name: str) -> Said:
        """Open a conversation."""
        self.said.append(Said(channel, name))
        return self.said[-1]

    async def moved(self, *, within_s: float = 150) -> None:
        """Wait until every conversation has got two answers from now on: the first may have been ready before."""
        goals = [(said, len(said.answers) + 2) for said in self.said]
        until = asyncio.get_running_loop().time() + within_s
        while waiting := [said for said, goal in goals if len(said.answers) < goal]:
            assert asyncio.get_running_loop().time() < until, waiting
            await asyncio.sleep(0.05)

    async def pause(self, mean_s: float) -> None:
        """Think for a while, but not beyond the end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._dice.uniform(0, 2) * mean_s):
                await self.over.wait()

    async def program(self, name: str) -> None:
        """Ask by `POST /api/v1/chat`, the same request as often as it takes, and now and then once more."""
        said = self.begin("api", name)
        async with self._session() as session:
            while not self.over.is_set():
                body = {"prompt": said.ask(), "session_id": name}
                key = f"{self._seed}-{name}-{len(said.questions)}"
                answer = await self._answered(session, key, body)
                if self._dice.random() < 0.2:
                    self.repeated += 1
                    again = await self._answered(session, key, body)
                    assert (again["turn"], again["response"]) == (answer["turn"], answer["response"])
                said.turns.append(answer["turn"])
                said.answers.append(answer["response"])
                await self.pause(0.2)

    async def _answered(
        self, session: aiohttp.ClientSession, key: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        headers = {"X-API-Key": self._front.key, "Idempotency-Key": key}
        while True:
            try:
                async with session.post(
                    f"{self._front.url}/api/v1/chat", json=body, headers=headers
                ) as answer:
                    told = await answer.json(content_type=None) if answer.status not in (502, 504) else {}
            except (aiohttp.ClientError, TimeoutError):
                self.repeated += 1
            else:
                if answer.status == 200:
                    return dict(told)
                assert answer.status in AGAIN, (answer.status, told)
                self.repeated += 1
            await asyncio.sleep(self._dice.uniform(0.1, 0.4))

    async def visitor(self, name: str) -> None:
        """Ask in the widget's protocol; a page whose socket is closed opens another and goes on where it was."""
        said, page = self.begin("web", name), _Page()
        async with self._session() as session:
            while not self.over.is_set() or page.is_waiting:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
                    headers = {"Origin": self._front.url}
                    async with session.ws_connect(f"{self._front.url}/ws/chat", headers=headers) as socket:
                        await self._talk(socket, page, said)
                await asyncio.sleep(0.1)

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse, page: "_Page", said: Said) -> None:
        await socket.send_json({"t": "auth", "token": page.token})
        while not self.over.is_set() or page.is_waiting:
            frame = await _frame(socket)
            if frame["t"] == "ready":
                page.token = frame["token"]
            elif frame["t"] == "accepted":
                page.turn = frame["turn"]
            elif frame["t"] == "final" and frame["turn"] == page.turn:
                said.answers.append(frame["text"])
                page.is_waiting, page.turn = False, ""
                await self.pause(0.3)
            elif frame["t"] == "err":
                raise ConnectionError(frame["code"])
            if frame["t"] in ("ready", "final") and not (self.over.is_set() and not page.is_waiting):
                await socket.send_json(page.next(said))

    async def chat(self, telegram: BotApi, chat: int) -> None:
        """Write on Telegram, sometimes before the last answer is there."""
        said = self.begin("telegram", str(chat))
        while not self.over.is_set():
            if len(said.questions) - len(said.answers) < 3:
                telegram.say(chat, said.ask())
            await self.pause(0.3)
            said.answers[:] = telegram.answers(chat)
        await telegram.answered(chat, len(said.questions), timeout_s=120)
        said.answers[:] = telegram.answers(chat)

    async def correspondent(self, dovecot: Dovecot, smtp: SmtpServer) -> None:
        """Write mails, each about something new."""
        said = self.begin("email", JANE)
        while not self.over.is_set() or len(said.answers) < len(said.questions):
            if not self.over.is_set() and len(said.questions) - len(said.answers) < 3:
                number = len(said.questions) + 1
                head = f"From: {JANE}\r\nTo: {HUB}\r\nSubject: No {number}\r\nMessage-ID: <q{number}@example.net>\r\n"
                await asyncio.to_thread(dovecot.deliver, JANE, [HUB], f"{head}\r\n{said.ask()}\r\n".encode())
            await self.pause(0.7) if not self.over.is_set() else await asyncio.sleep(0.1)
            mails = [email.message_from_bytes(raw, policy=email.policy.default) for raw in smtp.accepted]
            # Each is a conversation of its own, and may be answered before an earlier one.
            mails.sort(key=lambda mail: _number(str(mail["In-Reply-To"])))
            said.turns[:] = [str(mail["In-Reply-To"]) for mail in mails]
            said.answers[:] = [_text(mail) for mail in mails]

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=self._front.tls)
        return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=PATIENCE_S))


@dataclass
class _Page:
    """What a page keeps while it has no socket."""

    token: str = ""
    turn: str = ""
    """Of the question that waits, once it was accepted."""
    is_waiting: bool = False

    def next(self, said: Said) -> dict[str, Any]:
        """Return what to send: the rest of an answer is asked for, a question that was not accepted repeated."""
        if self.turn:
            return {"t": "resume", "turn": self.turn, "have": 0}
        if not self.is_waiting:
            said.ask()
            self.is_waiting = True
        return {"t": "message", "id": f"m{len(said.questions)}", "text": said.questions[-1]}


async def _frame(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_S):
        message = await socket.receive()
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise ConnectionError("the socket was closed")
    frame: dict[str, Any] = message.json()
    return frame


def _number(message_id: str) -> int:
    return int(message_id.removeprefix("<q").partition("@")[0])


def _text(mail: EmailMessage) -> str:
    plain = mail.get_body(("plain",))
    assert plain
    return str(plain.get_content())
