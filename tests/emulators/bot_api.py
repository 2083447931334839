"""An emulator of Telegram's Bot API on a loopback port, written from its public documentation.

In a test: `async with BotApi() as telegram: ...`; for another process: `python -m tests.emulators.bot_api --port 8081`.
Source: https://core.telegram.org/bots/api
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import secrets
import ssl
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

import aiogram.methods
import aiohttp
from aiogram.methods.base import TelegramMethod
from aiohttp import web
from pydantic import ValidationError

from tests.emulators.bot_api_chats import ApiError, Visible
from tests.emulators.bot_api_methods import BotMethods, Webhook
from tests.emulators.bot_api_people import People

METHODS: dict[str, type[TelegramMethod[Any]]] = {
    method.__api_method__.lower(): method
    for method in vars(aiogram.methods).values()
    if isinstance(method, type) and issubclass(method, TelegramMethod) and method is not TelegramMethod
}


@dataclass(kw_only=True)
class Fault:
    """What happens to one of the next calls of a method."""

    method: str
    status: int = 500
    description: str = "Internal Server Error"
    parameters: dict[str, int]
    chat: int | None = None
    reset: Literal["", "before", "after"] = ""
    """Cut the connection before or after the call is executed."""
    delay_s: float = 0.0
    """Wait this long first; with status 200 the call is then executed."""


class BotApi(BotMethods, People):
    """One bot, its chats and the server it calls."""

    def __init__(
        self,
        *,
        token: str = "",
        username: str = "hub_bot",
        port: int = 0,
        retry_s: float = 0.05,
        trusted: ssl.SSLContext | None = None,
    ) -> None:
        """Prepare a bot.

        Args:
            retry_s: how soon a refused webhook delivery is repeated (Telegram: 1 s, doubling).
            trusted: whose certificates a webhook may have; None: those that everybody trusts.
        """
        BotMethods.__init__(self, token or f"123456:{secrets.token_hex(17)}", username)
        People.__init__(self)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """Method and arguments of every call with a valid token, refused ones too."""
        self.deliveries: list[tuple[int, int]] = []
        """Update id and HTTP status (0: no answer) of every webhook delivery."""
        self._port = port
        self._retry_s = retry_s
        self._trusted = trusted
        self._faults: list[Fault] = []
        self._update_ids = itertools.count(1000)
        self._delivering: dict[int, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        """Listen."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/bot{token}/{method}", self._call)
        app.router.add_get("/file/bot{token}/{path:.+}", self._download)
        app.router.add_post("/control/{name}", self._control)
        connector = aiohttp.TCPConnector(ssl=self._trusted or True)
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60), connector=connector)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop delivering and listening."""
        for task in tuple(self._delivering.values()):
            task.cancel()
        await asyncio.gather(*self._delivering.values(), return_exceptions=True)
        await self._client.close()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Base for the setting `telegram.api_base`."""
        return f"http://127.0.0.1:{self._port}"

    def push(self, **update: Any) -> int:
        """Hand an update to the bot: `push(message={...})`.

        Returns: its update id.
        """
        update_id = int(update.setdefault("update_id", next(self._update_ids)))
        kind = next((name for name in update if name != "update_id"), "")
        if not self.allowed_updates or kind in self.allowed_updates:
            self.pending[update_id] = update
        self.change()
        return update_id

    def fail(
        self, method: str, status: int = 500, description: str = "", *, times: int = 1, **how: Any
    ) -> None:
        """Let the next calls of a method fail: see `Fault`; `retry_after` and `migrate_to_chat_id` are parameters."""
        parameters: dict[str, int] = {
            name: how.pop(name) for name in ("retry_after", "migrate_to_chat_id") if name in how
        }
        text = description or {429: "Too Many Requests: retry later", 403: "Forbidden"}.get(status, "Error")
        fault = Fault(method=method.lower(), status=status, description=text, parameters=parameters, **how)
        self._faults.extend([fault] * times)

    def heal(self) -> None:
        """Forget the faults that have not happened yet."""
        self._faults.clear()

    # What people see

    def messages(self, chat_id: int) -> list[Visible]:
        """Return all messages a person sees in a chat, oldest first."""
        return list(self.chat(chat_id).messages.values())

    def answers(self, chat_id: int) -> list[str]:
        """Return the texts of the bot's messages in a chat, oldest first."""
        return [message.text for message in self.messages(chat_id) if message.by_bot]

    async def until(self, claim: Callable[[], object], timeout_s: float = 10.0) -> None:
        """Wait until a claim about this emulator holds.

        Raises: TimeoutError: it did not within the time.
        """
        async with asyncio.timeout(timeout_s):
            while not claim():
                # A claim may be about something beside the emulator, too: look again soon in any case.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), 0.02)

    async def answered(self, chat_id: int, count: int = 1, *, timeout_s: float = 10.0) -> list[str]:
        """Wait until the bot has sent so many messages to a chat; returns their texts."""
        await self.until(lambda: len(self.answers(chat_id)) >= count, timeout_s)
        return self.answers(chat_id)

    def called(self, method: str) -> list[dict[str, Any]]:
        """Return the arguments of every call of a method."""
        return [arguments for name, arguments in self.calls if name.lower() == method.lower()]

    # The server

    async def _call(self, request: web.Request) -> web.StreamResponse:
        try:
            if not secrets.compare_digest(request.match_info["token"], self.token):
                raise ApiError(401, "Unauthorized")
            name = request.match_info["method"].lower()
            if (model := METHODS.get(name)) is None:
                raise ApiError(404, "Not Found: method not found")
            call = _parse(model, await _arguments(request))
            self.calls.append((model.__api_method__, call.model_dump(exclude_unset=True, warnings=False)))
            self.change()
            fault = self._take_fault(name, getattr(call, "chat_id", None))
            if fault is not None:
                await self._before(fault, request)
            result = await self.execute(name, call)
            if fault is not None and fault.reset == "after":
                _cut(request)
            return web.json_response({"ok": True, "result": result})
        except ApiError as error:
            body = {"ok": False, "error_code": error.status, "description": error.description}
            if error.parameters:
                body["parameters"] = error.parameters
            return web.json_response(body, status=error.status)
        finally:
            self.change()

    async def _before(self, fault: Fault, request: web.Request) -> None:
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault.reset == "before":
            _cut(request)
        if not fault.reset and fault.status != 200:
            raise ApiError(fault.status, fault.description, **fault.parameters)

    def _take_fault(self, method: str, chat: object) -> Fault | None:
        for fault in self._faults:
            if fault.method in (method, "*") and fault.chat in (None, chat):
                self._faults.remove(fault)
                return fault
        return None

    async def _download(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        if request.match_info["token"] != self.token or path not in self.files:
            raise web.HTTPNotFound
        fault = self._take_fault("file", None)
        if fault is not None:
            try:
                await self._before(fault, request)
            except ApiError as error:
                return web.Response(status=error.status)
        return web.Response(body=self.files[path])

    # Webhook deliveries: one at a time for each chat, repeated until 2xx

    def change(self) -> None:
        """Wake who waits, and deliver what can be delivered."""
        super().change()
        if self.webhook is None:
            return
        for update_id, update in self.pending.items():
            queue = _queue_of(update)
            if queue not in self._delivering and len(self._delivering) < self.webhook.max_connections:
                self._delivering[queue] = asyncio.create_task(self._deliver(queue, update_id, self.webhook))

    async def _deliver(self, queue: int, update_id: int, webhook: Webhook) -> None:
        body = json.dumps(self.pending.get(update_id, {})).encode()
        status = await self.post_update(body, webhook)
        self.deliveries.append((update_id, status))
        if 200 <= status < 300:
            self.pending.pop(update_id, None)
        else:
            self.note_failure(status)
            await asyncio.sleep(self._retry_s)
        del self._delivering[queue]
        self.change()

    async def post_update(self, body: bytes, webhook: Webhook | None = None) -> int:
        """Send a body to the webhook as Telegram does.

        Returns: the HTTP status; 0 when there was no answer.
        """
        target = webhook or self.webhook
        assert target is not None, "no webhook is set"
        headers = {"Content-Type": "application/json"}
        if target.secret:
            headers["X-Telegram-Bot-Api-Secret-Token"] = target.secret
        try:
            async with self._client.post(target.url, data=body, headers=headers) as response:
                await response.read()
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return 0

    # Control from another process

    async def _control(self, request: web.Request) -> web.Response:
        arguments: dict[str, Any] = await request.json()
        match request.match_info["name"]:
            case "say":
                return web.json_response({"update_id": self.say(**arguments)})
            case "messages":
                return web.json_response([vars(message) for message in self.messages(arguments["chat_id"])])
            case "fail":
                self.fail(**arguments)
                return web.json_response({})
            case _:
                raise web.HTTPNotFound


def _queue_of(update: dict[str, Any]) -> int:
    """Return what orders an update: messages and edits by chat, buttons by person, memberships by themselves.

    Source: https://github.com/tdlib/telegram-bot-api, Client.cpp, calls of `add_update`.
    """
    kind, body = next(((name, value) for name, value in update.items() if isinstance(value, dict)), ("", {}))
    if kind == "callback_query":
        return int((body.get("from") or {}).get("id", 0)) + (3 << 33)
    chat = int((body.get("chat") or {}).get("id", 0))
    return chat + (4 << 33) if kind == "my_chat_member" else chat


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("cut on command")


async def _arguments(request: web.Request) -> dict[str, Any]:
    if request.content_type == "application/json":
        body: dict[str, Any] = await request.json()
        return body
    return dict(request.query) | dict(await request.post())


def _parse(model: type[TelegramMethod[Any]], arguments: dict[str, Any]) -> TelegramMethod[Any]:
    values = {}
    for name, value in arguments.items():
        field = model.model_fields.get(name)
        takes_text = field is None or str in (field.annotation, *typing.get_args(field.annotation))
        # Form values are text; an id is a number all the same, and only a user name is not.
        takes_text = takes_text and not (name == "chat_id" and str(value).lstrip("-").isdecimal())
        try:
            values[name] = value if takes_text or not isinstance(value, str) else json.loads(value)
        except ValueError:
            values[name] = value
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        raise ApiError(400, f"Bad Request: {problem['loc'][0]}: {problem['msg']}") from error


async def _serve(port: int, token: str) -> None:
    async with BotApi(port=port, token=token) as telegram:
        print(f"{telegram.url} token {telegram.token}", flush=True)  # noqa: T201
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", default="")
    options = parser.parse_args()
    asyncio.run(_serve(options.port, options.token))
