"""The far side of a run: a program at the http channel and Telegram's Bot API, both of which write down what arrives."""

import asyncio
import contextlib
import json
import random
import re
from collections import Counter
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from connectors.http import signing
from hub.messages import conversation_id
from tests.emulators.bot_api import BotApi
from tests.emulators.bot_api_methods import Webhook
from tests.faults.chaos.processes import SECRET
from tests.faults.history import History

TAG = re.compile(r"\bt\d+\b")
TIMEOUT_S = 5.0
"""After so long somebody outside gives up on a request, not knowing what became of it, and sends it again."""


class Tags:
    """Names of messages: each is used once."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._count = 0
        self.open: Counter[str] = Counter()
        """Messages without a reply so far, by person."""
        self._person_of: dict[str, str] = {}

    def say(self, conversation: str, person: str, *, automatic: bool = False) -> str:
        """Name what a person, or a program that nobody should answer, is about to write."""
        self._count += 1
        tag = f"t{self._count}"
        if not automatic:
            self.open[person] += 1
            self._person_of[tag] = person
        self.history.write("say", tag=tag, conversation=conversation, person=person, automatic=automatic)
        return tag

    @property
    def count(self) -> int:
        """How many there are."""
        return self._count

    def told(self, tag: str, status: int, retry_after: str, *, accepted: bool) -> None:
        """Write down what somebody heard; status 0 is no answer at all."""
        result = "ok" if accepted else "refused" if status else "unknown"
        # A proxy or a server that is just closing may refuse without a word; the hub itself never does.
        if result == "refused" and status not in (429, 503):
            result = "unknown"
        after_s = float(retry_after) if retry_after.replace(".", "").isdigit() else 0.0
        self.history.write("told", tag=tag, result=result, status=status, retry_after_s=after_s)

    def received(
        self, channel: str, destination: str, person: str, text: str, *, tag: str, kind: str
    ) -> None:
        """Write down a reply that stands at its destination."""
        tags = TAG.findall(text)
        about = tags[1:] if tags[:1] == [tag] else []
        if tag in self._person_of:
            self.open[self._person_of.pop(tag)] -= 1
        self.history.write(
            "receive",
            channel=channel,
            destination=destination,
            person=person,
            tag=tag,
            kind=kind,
            part=0,
            about=about,
        )


class Program:
    """Posts what people write, and is called with the replies."""

    def __init__(self, tags: Tags, dice: random.Random) -> None:
        self._tags = tags
        self._dice = dice
        self._session: aiohttp.ClientSession | None = None
        self.callback_url = ""
        self.hub_url = ""
        self.is_away = False
        """Whether it refuses replies just now."""
        self.is_slow = False
        """Whether it takes replies, and answers too late."""

    async def __aenter__(self) -> "Program":
        app = web.Application()
        app.add_routes([web.post("/replies", self._take)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.callback_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/replies"
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        # A connection of its own for each request: a frozen process holds one up, and no other.
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        self._session = aiohttp.ClientSession(timeout=timeout, connector=connector)
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._session
        await self._session.close()
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        reply = orjson.loads(await request.read())
        if self.is_away:
            return web.Response(status=503, headers={"Retry-After": "1"})
        conversation = conversation_id("http", reply["conversation"])
        self._tags.received(
            "http", conversation, reply["person"], reply["text"], tag=reply["in_reply_to"], kind=reply["kind"]
        )
        await asyncio.sleep(4 if self.is_slow else self._dice.uniform(0, 0.01))
        return web.Response()

    async def ask(self, name: str, person: str, verb: str = "say") -> str:
        """Write one message, as often as it takes until it is accepted; returns its tag."""
        tag = self._tags.say(conversation_id("http", name), person)
        said = {"id": tag, "conversation": name, "person": person, "text": f"{verb} {tag}"}
        while not await self._post(tag, orjson.dumps(said)):
            await asyncio.sleep(self._dice.uniform(0.05, 0.3))
        if self._dice.random() < 0.05:
            # Once more, as a program does whose own notes were lost.
            await self._post(tag, orjson.dumps(said))
        return tag

    async def offer(self, name: str, verb: str) -> bool:
        """Write one message, once; returns whether it was accepted."""
        tag = self._tags.say(conversation_id("http", name), name)
        said = {"id": tag, "conversation": name, "person": name, "text": f"{verb} {tag}"}
        return await self._post(tag, orjson.dumps(said))

    async def _post(self, tag: str, body: bytes) -> bool:
        assert self._session
        headers = signing.sign(SECRET.encode(), body)
        try:
            async with self._session.post(self.hub_url, data=body, headers=headers) as answer:
                await answer.read()
                after = answer.headers.get("Retry-After", "")
                self._tags.told(tag, answer.status, after, accepted=answer.status == 202)
                return answer.status == 202
        except (aiohttp.ClientError, TimeoutError, OSError):
            self._tags.told(tag, 0, "", accepted=False)
            return False


class Telegram(BotApi):
    """The emulator of the Bot API, with a history."""

    def __init__(self, tags: Tags) -> None:
        super().__init__(retry_s=0.1)
        self._tags = tags
        self.hub_url = ""

    def ask(self, chat: int, verb: str = "say") -> str:
        """Let somebody write; it is delivered as often as it takes."""
        tag = self._tags.say(f"telegram {chat}", str(chat))
        self.say(chat, f"{verb} {tag}")
        return tag

    def bot_says(self, chat: int) -> None:
        """Let another bot write, which is to get no answer: it might answer that."""
        tag = self._tags.say(f"telegram {chat}", str(chat), automatic=True)
        message = self.message(chat, f"say {tag}")
        message["from"] = {**message["from"], "is_bot": True}
        self.push(message=message)

    async def post_update(self, body: bytes, webhook: Webhook | None = None) -> int:
        """Deliver an update and write down what the hub said."""
        message = json.loads(body).get("message", {})
        found = TAG.search(message.get("text", ""))
        headers = {"Content-Type": "application/json"}
        if webhook and webhook.secret:
            headers["X-Telegram-Bot-Api-Secret-Token"] = webhook.secret
        status, after = 0, ""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with (
                asyncio.timeout(TIMEOUT_S),
                self._client.post(webhook.url if webhook else "", data=body, headers=headers) as answer,
            ):
                await answer.read()
                status, after = answer.status, answer.headers.get("Retry-After", "")
        if found:
            self._tags.told(found[0], status, after, accepted=status == 200)
        return status

    async def execute(self, name: str, call: Any) -> Any:
        """Carry a call out; what people can read then is written down."""
        result = await super().execute(name, call)
        if name == "sendmessage":
            found = TAG.search(call.text)
            chat = str(call.chat_id)
            self._tags.received(
                "telegram", chat, chat, call.text, tag=found[0] if found else "", kind="answer"
            )
        return result
