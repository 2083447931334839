"""The methods of the emulated Bot API, over its chats and its updates.

Source: https://core.telegram.org/bots/api#available-methods
"""

import asyncio
import re
import time
from dataclasses import dataclass
from typing import Any

from aiogram.types import ReplyParameters

from tests.emulators.bot_api_chats import ApiError, Chat, Draft, Visible, accept_keyboard, accept_text

MAX_FILE_BYTES = 20 * 1024 * 1024
DELETABLE_S = 48 * 3600
NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same as a current "
    "content and reply markup of the message"
)


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
        self.file_sizes: dict[str, int] = {}
        """Sizes that Telegram tells, where they are not those of the content."""
        self.queries: dict[str, str | None] = {}
        self.last_error: dict[str, Any] = {}
        """Fields of WebhookInfo about the last delivery that failed."""
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
        self.last_error = {}
        self.change()
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

    def note_failure(self, status: int) -> None:
        """Remember a delivery to the webhook that failed; 0 stands for no answer."""
        said = f"Wrong response from the webhook: {status}" if status else "Connection refused"
        # Whole seconds as at Telegram; tests are faster than that, so each failure gets a second of its own.
        at = max(int(time.time()), self.last_error.get("last_error_date", 0) + 1)
        self.last_error = {"last_error_date": at, "last_error_message": said}

    def _getwebhookinfo(self, call: Any) -> dict[str, Any]:
        info: dict[str, Any] = {
            "url": self.webhook.url if self.webhook else "",
            "has_custom_certificate": False,
            "pending_update_count": len(self.pending),
        }
        if self.webhook:
            info["max_connections"] = self.webhook.max_connections
            info |= self.last_error
        if self.allowed_updates:
            info["allowed_updates"] = self.allowed_updates
        return info

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
            keyboard=accept_keyboard(call.reply_markup),
        )
        chat.messages[message.message_id] = message
        chat.drafts.clear()
        return self._as_json(chat, message)

    def _editmessagetext(self, call: Any) -> dict[str, Any]:
        chat = self._open(call)
        message = self._own(chat, call.message_id)
        text, entities = accept_text(call.text, call.entities)
        keyboard = accept_keyboard(call.reply_markup)
        if (text, entities, keyboard) == (message.text, message.entities, message.keyboard):
            raise ApiError(400, f"Bad Request: {NOT_MODIFIED}")
        message.edits.append(message.text)
        message.text, message.entities, message.keyboard = text, entities, keyboard
        return self._as_json(chat, message)

    def _editmessagereplymarkup(self, call: Any) -> dict[str, Any]:
        chat = self._open(call)
        message = self._own(chat, call.message_id)
        keyboard = accept_keyboard(call.reply_markup)
        if keyboard == message.keyboard:
            raise ApiError(400, f"Bad Request: {NOT_MODIFIED}")
        message.keyboard = keyboard
        return self._as_json(chat, message)

    def _own(self, chat: Chat, message_id: int) -> Visible:
        message = chat.messages.get(message_id)
        if message is None:
            raise ApiError(400, "Bad Request: message to edit not found")
        if not message.by_bot:
            raise ApiError(400, "Bad Request: message can't be edited")
        return message

    def _deletemessages(self, call: Any) -> bool:
        """Delete what is there; what is not there is skipped."""
        chat = self._open(call)
        if not 1 <= len(call.message_ids) <= 100:
            raise ApiError(400, "Bad Request: message identifiers are not specified")
        found = [chat.messages[number] for number in call.message_ids if number in chat.messages]
        if any(time.time() - message.date > DELETABLE_S for message in found):
            raise ApiError(400, "Bad Request: message can't be deleted")
        for message in found:
            del chat.messages[message.message_id]
        return True

    def _answercallbackquery(self, call: Any) -> bool:
        if self.queries.get(call.callback_query_id, "") is not None:
            raise ApiError(
                400, "Bad Request: query is too old and response timeout expired or query ID is invalid"
            )
        if len(call.text or "") > 200:
            raise ApiError(400, "Bad Request: MESSAGE_TOO_LONG")
        self.queries[call.callback_query_id] = call.text or ""
        return True

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
        size = self.file_sizes.get(call.file_id, len(self.files[call.file_id]))
        if size > MAX_FILE_BYTES:
            raise ApiError(400, "Bad Request: file is too big")
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
        body: dict[str, Any] = {
            "message_id": message.message_id,
            "date": message.date,
            "chat": chat.as_json(),
            "text": message.text,
        }
        if message.keyboard:
            body["reply_markup"] = {"inline_keyboard": message.keyboard}
        return body | {"from": self._getme(None), "entities": message.entities}
