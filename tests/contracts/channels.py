"""Every connector against a server that speaks its channel's protocol, each behind the same few words."""

import asyncio
import json
import smtplib
from contextlib import AsyncExitStack
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiohttp import web

from hub.bus.keys import Keys
from hub.email_settings import EmailSettings
from hub.errors import BusError, BusFull
from hub.messages import Address, InboundMessage, OutboundMessage
from hub.settings import ApiSettings, BusSettings
from hubbub.testing import Channel
from tests.connectors.email.edges import Hub as EmailHub
from tests.connectors.email.edges import account
from tests.connectors.http import program as http
from tests.connectors.telegram import harness as telegram
from tests.connectors.web.edges import Bus as WebBus
from tests.connectors.web.edges import HubProcess as WebHub
from tests.connectors.web.page import open_page
from tests.emulators.bot_api import BotApi
from tests.hub.api.serving import serving
from tests.servers import dovecot as dovecot_server
from tests.servers import smtp as smtp_server
from tests.servers.accounts import PASSWORD
from tests.servers.redis import RedisServer

HUB, JANE = "hub@example.org", "jane@example.net"


class Telegram(Channel):
    """The Bot API, emulated; updates come by webhook."""

    parts = 3

    async def open(self, folder: Path) -> None:
        """Start the emulator and the hub's HTTP server."""
        self._server = AsyncExitStack()
        self._api = await self._server.enter_async_context(BotApi())
        self.opened.push_async_callback(self._server.aclose)
        edge = await self.opened.enter_async_context(telegram.edge(self._api, run=False))
        self.connector = edge.connector
        self._api.chat(telegram.CHAT)

    async def ready(self) -> None:
        """Wait until the webhook is set."""
        before = len(self._api.called("setWebhook"))
        await self._api.until(lambda: len(self._api.called("setWebhook")) > before)

    def reply(self) -> OutboundMessage:
        """Return a reply of three parts."""
        return telegram.reply("\n\n".join(f"Paragraph {number}: " + "word " * 100 for number in range(20)))

    async def delivered(self) -> int:
        """Count the messages in the chat."""
        return len(self._api.answers(telegram.CHAT))

    async def offer(self) -> bool:
        """Post an update; Telegram sends it again unless the answer is 200."""
        person = {"id": telegram.CHAT, "is_bot": False, "first_name": "Jane"}
        chat = {"id": telegram.CHAT, "type": "private"}
        message = {"message_id": 1, "date": 1_700_000_000, "chat": chat, "from": person, "text": "Hello"}
        body = json.dumps({"update_id": 1, "message": message}).encode()
        return await self._api.post_update(body) == 200

    async def cut_off(self) -> None:
        """End the emulator."""
        await self._server.aclose()

    def leave(self) -> None:
        """Block the bot."""
        self._api.chat(telegram.CHAT).blocked = True


class Email(Channel):
    """A real Dovecot, and an SMTP server in front of it."""

    async def open(self, folder: Path) -> None:
        """Start both servers."""
        self._dovecot = self.opened.enter_context(dovecot_server.running(HUB, JANE))
        self._smtp = self.opened.enter_context(smtp_server.running(self._dovecot))
        mailbox = account(HUB, self._dovecot.port, self._smtp.port)
        settings = EmailSettings(accounts=(mailbox,), poll_s=5, command_timeout_s=5)
        self.connector = EmailHub(settings).connector
        self._is_posted = False

    def reply(self) -> OutboundMessage:
        """Return a reply to Jane's mail."""
        return OutboundMessage(
            reply_id="1-0:0",
            turn="1-0",
            conversation="email-1",
            address=Address(
                connector="email", account=HUB, chat=JANE, thread="<q1@example.net>", person=JANE
            ),
            text="Hello Jane",
            reply={"participant": JANE, "to": JANE, "subject": "Hi", "message_id": "<q1@example.net>"},
        )

    async def delivered(self) -> int:
        """Count the mails that the server took."""
        return len(self._smtp.accepted)

    async def offer(self) -> bool:
        """Have a mail in the mailbox; it is not offered again once it carries the hub's keyword."""
        before = self.inbound.attempts
        if not self._is_posted:
            await asyncio.to_thread(self._post)
            self._is_posted = True
        if self.inbound.failure is not None:
            # The second look comes after all that the first one did.
            await self.inbound.until(lambda: self.inbound.attempts >= before + 2)
            return await self._is_marked()
        await self.inbound.until(lambda: bool(self.inbound.accepted))
        async with asyncio.timeout(30):
            while not await self._is_marked():
                await asyncio.sleep(0.05)
        return True

    async def _is_marked(self) -> bool:
        return any("$HubDone" in flags for flags in await asyncio.to_thread(self._dovecot.flags, HUB))

    def _post(self) -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = f"Jane <{JANE}>", HUB, "Hi"
        mail["Message-ID"] = "<q1@example.net>"
        mail.set_content("Hello")
        with smtplib.SMTP(self._smtp.host, self._smtp.port) as client:
            client.login(JANE, PASSWORD)
            client.send_message(mail)

    async def cut_off(self) -> None:
        """End the SMTP server."""
        await asyncio.to_thread(self._smtp.stop)

    def leave(self) -> None:
        """Delete Jane's mailbox."""
        self._smtp.faults.append("550 no such person")


class Web(Channel):
    """The hub's HTTP server, and a page without a browser."""

    async def open(self, folder: Path) -> None:
        """Start the server."""
        self._bus = WebBus()
        self._hub = WebHub(self._bus)
        await self._hub.start(ready=False)
        self.opened.push_async_callback(self._hub.stop)
        self.connector = self._hub.connector
        self._token = ""

    def reply(self) -> OutboundMessage:
        """Return a reply for a page."""
        return _reply("web")

    async def delivered(self) -> int:
        """Count the replies that were announced to the pages."""
        return len(self._bus.live.announced)

    async def offer(self) -> bool:
        """Write in the widget, which repeats its message until it reads `accepted`."""
        async with open_page(self._hub, self._token) as page:
            self._token = page.ready["token"]
            await page.send(t="message", id="m1", text="Hello")
            return bool((await page.receive())["t"] == "accepted")


class Api(Channel):
    """The HTTP API on a Redis of its own; it publishes by itself, beside the connector."""

    async def open(self, folder: Path) -> None:
        """Start Redis, the server and an engine that echoes."""
        self._redis = RedisServer(folder)
        self.opened.enter_context(self._redis)
        bus = BusSettings(max_backlog=1)
        settings = ApiSettings(port=0, reply_timeout_s=10)
        (folder / "data").mkdir()
        server = serving(self._redis.url, folder / "data", api=settings, bus_settings=bus)
        self._api = await self.opened.enter_async_context(server)
        await self._api.start_engine()
        self._headers = {**await self._api.new_key(), "Idempotency-Key": "hello"}
        self.connector = self._api.engine.connector

    def reply(self) -> OutboundMessage:
        """Return a reply for a session."""
        return _reply("api")

    async def delivered(self) -> int:
        """Count the replies that were announced."""
        redis: Any = self._api.parts.bus.redis
        return int(await redis.xlen(Keys().deltas))

    async def offer(self) -> bool:
        """Ask; a client repeats what was not answered by 200."""
        body = {"prompt": "Hello", "session_id": "s"}
        async with self._api.session.post(
            f"{self._api.url}/chat", json=body, headers=self._headers
        ) as answer:
            return bool(answer.status == 200)

    async def fail(self, error: BusError) -> None:
        """Fill the hub with a message that is never answered, or end Redis."""
        if isinstance(error, BusFull):
            self._api.engine.gate.clear()
            await self._api.parts.bus.publish(_message())
        else:
            self._redis.kill()

    async def heal(self) -> None:
        """Answer what waits, or start Redis again."""
        if self._api.engine.gate.is_set():
            await asyncio.to_thread(self._redis.start)
        self._api.engine.gate.set()
        async with asyncio.timeout(20):
            while not await self._is_idle():
                await asyncio.sleep(0.05)

    async def _is_idle(self) -> bool:
        try:
            return await self._api.parts.bus.backlog() == 0
        except BusError:
            return False

    async def messages(self) -> list[InboundMessage]:
        """Return what the engine was given."""
        return [message for message in self._api.engine.seen if message.text == "Hello"]


class Http(Channel):
    """A program with HTTP: its server is called, and it posts what people write."""

    async def open(self, folder: Path) -> None:
        """Start the program's server and the connector's."""
        self._program = http.Program()
        await self._program.start()
        self.opened.push_async_callback(self._program.stop)
        connector = http.make_connector(self._program.callback_url)
        self.connector = connector
        self._url = await self.opened.enter_async_context(http.serving(connector))

    def reply(self) -> OutboundMessage:
        """Return a reply for the program."""
        return _reply(http.NAME)

    async def delivered(self) -> int:
        """Count the calls it took."""
        return len(self._program.received)

    async def offer(self) -> bool:
        """Post a message; the program repeats what was not taken."""
        return (await http.post(self._url, http.message()))[0] == 202

    async def cut_off(self) -> None:
        """End the program's server."""
        await self._program.stop()

    def leave(self) -> None:
        """Let the program know nobody of this name."""
        self._program.answers.append(web.Response(status=404))


def _reply(connector: str) -> OutboundMessage:
    address = Address(connector=connector, account="hub", chat="visitor", person="visitor")
    return OutboundMessage(
        reply_id="1-0:0", turn="1-0", conversation=f"{connector}-1", address=address, text="Hello"
    )


def _message() -> InboundMessage:
    address = Address(connector="api", account="other", chat="other", person="other")
    return InboundMessage(external_key="api:other:1", conversation="api-other", address=address, text="Other")
