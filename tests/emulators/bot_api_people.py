"""What people do in the emulated Telegram: write, edit, press buttons, send albums and files, block the bot."""

import itertools
import time
from abc import abstractmethod
from typing import Any

from tests.emulators.bot_api_chats import Chat, Visible


class People:
    """Everybody who has a chat with the bot."""

    username: str
    bot_id: int
    files: dict[str, bytes]
    queries: dict[str, str | None]
    """Pressed buttons by query id, with the words the bot answered; None while it has not."""

    def __init__(self) -> None:
        self.queries = {}
        self._query_ids = itertools.count(7_000)

    @abstractmethod
    def chat(self, chat_id: int, kind: str = "private") -> Chat:
        """Return a chat; a new one is opened, as by a person's first message."""

    @abstractmethod
    def push(self, **update: Any) -> int:
        """Hand an update to the bot; returns its update id."""

    def say(
        self, chat_id: int, text: str | None, *, person: int = 0, kind: str = "private", **fields: Any
    ) -> int:
        """Let a person write; `fields` are further fields of the Message object.

        Returns: the update id.
        """
        return self.push(message=self.message(chat_id, text, person=person, kind=kind, **fields))

    def message(
        self, chat_id: int, text: str | None, *, person: int = 0, kind: str = "private", **fields: Any
    ) -> dict[str, Any]:
        """Put a person's message into a chat and return its Message object."""
        chat = self.chat(chat_id, kind)
        chat.blocked = False
        message_id = next(chat.next_id)
        body: dict[str, Any] = {"message_id": message_id, "date": int(time.time()), "chat": chat.as_json()}
        body["from"] = self.person(person or abs(chat_id))
        if text is not None:
            body["text"] = text
        chat.messages[message_id] = Visible(message_id=message_id, chat_id=chat_id, text=text or "")
        return body | fields

    def person(self, person: int, language: str = "en") -> dict[str, Any]:
        """Return a User object."""
        return {"id": person, "is_bot": False, "first_name": "Person", "language_code": language}

    def edit(self, message: dict[str, Any], **changes: Any) -> int:
        """Let a person change a message of theirs: `edit(message, text="...")`.

        Returns: the update id.
        """
        shown = self.chat(message["chat"]["id"]).messages[message["message_id"]]
        shown.edits.append(shown.text)
        shown.text = str(changes.get("text", changes.get("caption", shown.text)))
        return self.push(edited_message=message | {"edit_date": int(time.time())} | changes)

    def document(
        self, content: bytes, name: str = "notes.txt", *, mime: str = "text/plain"
    ) -> dict[str, Any]:
        """Upload a file and return its Document object."""
        file_id = f"file-{len(self.files)}"
        self.files[file_id] = content
        sizes = {"file_size": len(content)}
        return {
            "file_id": file_id,
            "file_unique_id": f"u-{file_id}",
            "file_name": name,
            "mime_type": mime,
        } | sizes

    def photo(self) -> list[dict[str, Any]]:
        """Upload a picture and return its sizes."""
        file_id = f"file-{len(self.files)}"
        self.files[file_id] = b"\xff\xd8"
        size = {"file_id": file_id, "file_unique_id": f"u-{file_id}"}
        return [size | {"width": width, "height": width} for width in (90, 1280)]

    def album(
        self,
        chat_id: int,
        *pieces: dict[str, Any],
        group: str = "13500",
        person: int = 0,
        kind: str = "private",
    ) -> list[dict[str, Any]]:
        """Send several messages as one album; each piece gives its `photo` or `document`, and its `caption`.

        Returns: the Message objects.
        """
        messages = [
            self.message(chat_id, None, person=person, kind=kind, media_group_id=group, **piece)
            for piece in pieces
        ]
        for message in messages:
            self.push(message=message)
        return messages

    def press(
        self, chat_id: int, label: str, *, message_id: int = 0, person: int = 0, language: str = "en"
    ) -> str:
        """Press the button whose text begins with `label`, below a message or else the last that has one.

        Returns: the query id.
        """
        shown = [one for one in self.chat(chat_id).messages.values() if one.keyboard]
        message = self.chat(chat_id).messages[message_id] if message_id else shown[-1]
        found = [one for row in message.keyboard for one in row if one["text"].startswith(label)]
        return self.press_data(chat_id, found[0]["callback_data"], message, person=person, language=language)

    def press_data(
        self, chat_id: int, data: str, message: Visible, *, person: int = 0, language: str = "en"
    ) -> str:
        """Press a button with data of one's own making, as a changed client can.

        Returns: the query id.
        """
        chat = self.chat(chat_id)
        query_id = str(next(self._query_ids))
        self.queries[query_id] = None
        body: dict[str, Any] = {
            "message_id": message.message_id,
            "date": message.date,
            "chat": chat.as_json(),
            "text": message.text,
            "reply_markup": {"inline_keyboard": message.keyboard},
        }
        if message.thread is not None:
            body |= {"message_thread_id": message.thread, "is_topic_message": True}
        sender = self.person(person or abs(chat_id), language)
        query = {"id": query_id, "from": sender, "chat_instance": "1", "message": body, "data": data}
        self.push(callback_query=query)
        return query_id

    def upgrade(self, chat_id: int, new_id: int) -> None:
        """Turn a group into a supergroup: both chats get a service message."""
        old = self.chat(chat_id, "group")
        self.push(message=self.message(chat_id, None, person=1, kind="group", migrate_to_chat_id=new_id))
        old.moved_to = new_id
        self.push(
            message=self.message(new_id, None, person=1, kind="supergroup", migrate_from_chat_id=chat_id)
        )

    def set_membership(
        self, chat_id: int, status: str, *, kind: str = "private", at: int | None = None
    ) -> int:
        """Block the bot, put it out of a group (`kicked`, `left`) or let it in (`member`).

        Returns: the update id.
        """
        chat = self.chat(chat_id, kind)
        chat.blocked = status in ("kicked", "left")
        bot = {"id": self.bot_id, "is_bot": True, "first_name": "Hub", "username": self.username}
        change = {
            "chat": chat.as_json(),
            "from": self.person(abs(chat_id)),
            "date": int(time.time()) if at is None else at,
            "old_chat_member": {"user": bot, "status": "member" if chat.blocked else "left"},
            "new_chat_member": {"user": bot, "status": status, "until_date": 0},
        }
        return self.push(my_chat_member=change)
