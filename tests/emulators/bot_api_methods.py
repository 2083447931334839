"""The methods of the emulated Bot API, over its chats and its updates.

Source: https://core.telegram.org/bots/api#available-methods
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Any

from aiogram.types import ReplyParameters

from tests.emulators.bot_api_chats import ApiError, Chat, Draft, Visible, accept_text


@dataclass(kw_only=True)
class Webhook:
    """Where updates are delivered to."""

    url: str
    secret: str | None
    max_connections: int


class BotMethods:
    """One bot: who it is, its chats, its waiting updates, and what each method does to them."""

    def __init__(self, token: str, username: str) -> None:
        self.token = token
        self.username = username
        self.bot_id = int(token.split(":", maxsplit=1)[0])
        self.webhook: Webhook | None = None
        self.allowed_updates: list[str] = []
        self.files: dict[str, bytes] = {}
        """Content by file id; the path of a file is its id."""
        self.pending: dict[int, dict[str, Any]] = {}
        """Updates that nobody has confirmed."""
        self.changed = asyncio.Event()
        self._chats: dict[int, Chat] = {}
        self._poller: object | None = None

    def change(self) -> None:
        """Wake who waits for something to happen."""
        self.changed.set()
        self.changed = asyncio.Event()

    def chat(self, chat_id: int, kind: str = "private") -> Chat:
        """Return a chat; a new one is opened, as by a person's first message."""
        return self._chats.setdefault(chat_id, Chat(chat_id, kind))

    async def execute(self, name: str, call: Any) -> Any:
        """Carry one validated call out.

        Raises: ApiError: Telegram would refuse it.
        """
        handler = getattr(self, f"_{name}", None)
        if handler is None:
            raise ApiError(501, f"Not Implemented: the emulator does not know {name}")
        result = handler(call)
        return await result if asyncio.iscoroutine(result) else result

    def _getme(self, call: Any) -> dict[str, Any]:
        return {
            "id": self.bot_id,
            "is_bot": True,
            "first_name": "Hub",
            "username": self.username,
            "can_join_groups": True,
            "can_read_all_group_messages": False,
        }

    def _setwebhook(self, call: Any) -> bool:
        if not re.match(r"https://|http://127\.0\.0\.1|http://localhost", call.url):
            raise ApiError(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
        if call.secret_token is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", call.secret_token):
            raise ApiError(400, "Bad Request: secret token contains unallowed characters")
        if not 1 <= (call.max_connections or 40) <= 100:
            raise ApiError(400, "Bad Request: max_connections must be between 1 and 100")
        self._configure(call)
        self.webhook = Webhook(
            url=call.url, secret=call.secret_token, max_connections=call.max_connections or 40
        )
        return True

    def _deletewebhook(self, call: Any) -> bool:
        self.webhook = None
        if call.drop_pending_updates:
            self.pending.clear()
        return True

    def _configure(self, call: Any) -> None:
        if getattr(call, "drop_pending_updates", False):
            self.pending.clear()
        if call.allowed_updates is not None:
            self.allowed_updates = list(call.allowed_updates)

    def _getwebhookinfo(self, call: Any) -> dict[str, Any]:
        url = self.webhook.url if self.webhook else ""
        return {"url": url, "has_custom_certificate": False, "pending_update_count": len(self.pending)}

    async def _getupdates(self, call: Any) -> list[dict[str, Any]]:
        if self.webhook:
            text = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete it first"
            raise ApiError(409, text)
        self._configure(call)
        me = self._poller = object()
        self.change()
        offset = call.offset or 0
        if offset < 0:
            offset = sorted(self.pending)[offset:][0] if self.pending else 0
        self.pending = {key: update for key, update in self.pending.items() if key >= offset}
        try:
            async with asyncio.timeout(call.timeout or 0):
                while not self.pending:
                    await self.changed.wait()
                    if self._poller is not me:
                        text = "Conflict: terminated by other getUpdates request; make sure that only one bot runs"
                        raise ApiError(409, text)
        except TimeoutError:
            return []
        return list(self.pending.values())[: min(call.limit or 100, 100)]

    def _sendmessage(self, call: Any) -> dict[str, Any]:
        chat = self._open(call)
        text, entities = accept_text(call.text, call.entities)
        reply: ReplyParameters | None = call.reply_parameters
        reply_to = reply.message_id if reply else None
        if reply and reply_to not in chat.messages:
            if reply.allow_sending_without_reply is not True:
                raise ApiError(400, "Bad Request: message to be replied not found")
            reply_to = None
        message = Visible(
            message_id=next(chat.next_id),
            chat_id=chat.chat_id,
            text=text,
            entities=entities,
            by_bot=True,
            reply_to=reply_to,
            thread=call.message_thread_id,
        )
        chat.messages[message.message_id] = message
        chat.drafts.clear()
        return self._as_json(chat, message)

    def _editmessagetext(self, call: Any) -> dict[str, Any]:
        chat = self._open(call)
        message = chat.messages.get(call.message_id)
        if message is None or not message.by_bot:
            raise ApiError(400, "Bad Request: message to edit not found")
        text, entities = accept_text(call.text, call.entities)
        if (text, entities) == (message.text, message.entities):
            raise ApiError(400, "Bad Request: message is not modified")
        message.edits.append(message.text)
        message.text, message.entities = text, entities
        return self._as_json(chat, message)

    def _sendmessagedraft(self, call: Any) -> bool:
        chat = self._open(call)
        if chat.kind != "private":
            raise ApiError(400, "Bad Request: TEXTDRAFT_PEER_INVALID")
        if call.draft_id == 0:
            raise ApiError(400, "Bad Request: draft_id must be non-zero")
        text, _ = accept_text(call.text or "", call.entities, may_be_empty=True)
        chat.drafts = {call.draft_id: Draft(text=text)}
        chat.draft_texts.append((call.draft_id, text))
        return True

    def _sendchataction(self, call: Any) -> bool:
        self._open(call).actions.append(call.action)
        return True

    def _setmycommands(self, call: Any) -> bool:
        return True

    def _getfile(self, call: Any) -> dict[str, Any]:
        if call.file_id not in self.files:
            raise ApiError(400, "Bad Request: invalid file_id")
        size = len(self.files[call.file_id])
        return {
            "file_id": call.file_id,
            "file_unique_id": call.file_id,
            "file_size": size,
            "file_path": call.file_id,
        }

    def _open(self, call: Any) -> Chat:
        if isinstance(getattr(call, "parse_mode", None), str):
            raise ApiError(
                400, "Bad Request: can't parse entities: the emulator takes entities, not parse_mode"
            )
        chat = self._chats.get(int(call.chat_id))
        if chat is None:
            raise ApiError(400, "Bad Request: chat not found")
        chat.check_open()
        return chat

    def _as_json(self, chat: Chat, message: Visible) -> dict[str, Any]:
        body = {
            "message_id": message.message_id,
            "date": message.date,
            "chat": chat.as_json(),
            "text": message.text,
        }
        return body | {"from": self._getme(None), "entities": message.entities}
