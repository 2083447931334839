"""Groups that move keep their conversation, and chats that are lost get no replies."""

import time

import pytest

from connectors.telegram.chats import Chats
from connectors.telegram.events import Place
from hub.errors import BusError, DeliveryRefused
from hubbub.testing import MemoryStore
from tests.connectors.telegram.harness import CHAT, MemoryProgress, edge, reply
from tests.emulators.bot_api import BotApi

OLD, NEW = -5, -1005


@pytest.mark.parametrize("polling", [True, False])
async def test_a_group_that_became_a_supergroup_goes_on(telegram: BotApi, polling: bool) -> None:
    """Replies to the old id reach the new one, and what is written there belongs to the old conversation."""
    async with edge(telegram, polling=polling) as hub:
        telegram.say(OLD, "/help", person=1, kind="group")
        await hub.received(1)
        telegram.upgrade(OLD, NEW)
        await telegram.until(lambda: not telegram.pending)
        telegram.say(NEW, "/new", person=1, kind="supergroup")
        await hub.received(2)
        before, after = hub.bus.accepted
        await hub.connector.send(
            reply("Here I am", chat=OLD, conversation=before.conversation), MemoryProgress()
        )

    assert before.conversation == after.conversation == "telegram-123456--5"
    assert (before.address.chat, after.address.chat) == ("-5", "-1005")
    assert telegram.answers(NEW) == ["Here I am"]
    assert [call["chat_id"] for call in telegram.called("sendMessage")] == [NEW]


async def test_messages_of_a_moved_group_are_not_taken_for_those_before(telegram: BotApi) -> None:
    """The new chat counts from 1 again; an edit there replaces what was asked there."""
    async with edge(telegram) as hub:
        telegram.upgrade(OLD, NEW)
        await telegram.until(lambda: not telegram.pending)
        message = telegram.message(NEW, "/help", person=1, kind="supergroup")
        telegram.push(message=message)
        telegram.edit(message, text="/new")
        await hub.received(2)

    question, edit = hub.bus.accepted
    assert question.origin == edit.origin == edit.replaces == f"{NEW}.{message['message_id']}"
    assert question.replaces == ""


async def test_topics_of_a_moved_group_keep_their_conversations(telegram: BotApi) -> None:
    """The topic stays a part of the name."""
    chats = Chats(123456, MemoryStore())
    await chats.moved(OLD, NEW)

    assert await chats.conversation(Place(chat=NEW, topic=7, private=False)) == "telegram-123456--5-7"
    assert await chats.conversation(Place(chat=CHAT, topic=None, private=True)) == "telegram-123456-4711"


async def test_a_move_that_is_only_learnt_by_an_error_is_remembered(telegram: BotApi) -> None:
    """By every process, and after a restart."""
    telegram.chat(OLD, "group").moved_to = NEW
    telegram.chat(NEW, "supergroup")
    store = MemoryStore()
    async with edge(telegram, store=store) as hub:
        await hub.connector.send(reply("one", chat=OLD), MemoryProgress())
    async with edge(telegram, store=store) as hub:
        await hub.connector.send(reply("two", chat=OLD), MemoryProgress())
        telegram.say(NEW, "/help", person=1, kind="supergroup")
        await hub.received(1)

    assert telegram.answers(NEW) == ["one", "two"]
    assert [call["chat_id"] for call in telegram.called("sendMessage")] == [OLD, NEW, NEW]
    assert hub.bus.accepted[0].conversation == "telegram-123456--5"


async def test_moves_in_a_circle_end(telegram: BotApi) -> None:
    """Nothing that Telegram says can hold the connector."""
    chats = Chats(123456, MemoryStore())
    await chats.moved(-1, -2)
    await chats.moved(-2, -1)
    await chats.moved(-3, -3)

    assert await chats.current(-1) in (-1, -2)
    assert await chats.current(-3) == -3


async def test_a_move_that_cannot_be_stored_comes_again(telegram: BotApi) -> None:
    """The update is confirmed only when it is remembered."""
    async with edge(telegram) as hub:
        hub.store.failure = BusError("Redis is away")
        telegram.upgrade(OLD, NEW)
        await telegram.until(lambda: telegram.deliveries)
        hub.store.failure = None
        await telegram.until(lambda: not telegram.pending)

        assert await hub.connector._bot.chats.current(OLD) == NEW


@pytest.mark.parametrize(
    ("chat", "kind", "status"),
    [(CHAT, "private", "kicked"), (OLD, "group", "kicked"), (NEW, "supergroup", "left")],
)
async def test_replies_to_a_lost_chat_are_refused(
    telegram: BotApi, chat: int, kind: str, status: str
) -> None:
    """With the reason, and without asking Telegram; what is asked after the return is answered."""
    now = int(time.time())
    async with edge(telegram) as hub:
        telegram.set_membership(chat, status, kind=kind, at=now)
        await telegram.until(lambda: not telegram.pending)
        with pytest.raises(DeliveryRefused, match="blocked or removed"):
            await hub.connector.send(reply("lost", chat=chat, asked=now - 5), MemoryProgress())
        assert not telegram.called("sendMessage")

        # A question that Telegram delivers before it tells of the return.
        telegram.chat(chat).blocked = False
        await hub.connector.send(reply("early", chat=chat, asked=now + 1), MemoryProgress())
        telegram.set_membership(chat, "member", kind=kind)
        await telegram.until(lambda: not telegram.pending)
        await hub.connector.send(reply("back", chat=chat, asked=now - 5), MemoryProgress())

    assert telegram.answers(chat) == ["early", "back"]


async def test_a_restricted_bot_is_in_or_out(telegram: BotApi) -> None:
    """Telegram says so beside the status."""
    async with edge(telegram) as hub:
        for inside, chat in ((True, -7), (False, -8)):
            member = {"status": "restricted", "is_member": inside}
            telegram.push(my_chat_member={"chat": {"id": chat}, "date": 100, "new_chat_member": member})
        await telegram.until(lambda: not telegram.pending)

        assert not await hub.connector._bot.chats.is_closed(-7, asked_at=50)
        assert await hub.connector._bot.chats.is_closed(-8, asked_at=50)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "Forbidden: bot was blocked by the user"),
        (403, "Forbidden: user is deactivated"),
        (403, "Forbidden: bot was kicked from the supergroup chat"),
        (403, "Forbidden: bot is not a member of the channel chat"),
        (400, "Bad Request: chat not found"),
    ],
)
async def test_a_chat_that_cannot_be_reached_is_refused_for_good(
    telegram: BotApi, status: int, words: str
) -> None:
    """Repeating would not help."""
    telegram.chat(CHAT)
    async with edge(telegram) as hub:
        telegram.fail("sendMessage", status, words)

        with pytest.raises(DeliveryRefused, match=words):
            await hub.connector.send(reply("x"), MemoryProgress())


@pytest.mark.parametrize("change", [{}, {"chat": {"id": 1}}, {"chat": {"id": "1"}, "new_chat_member": {}}])
async def test_a_membership_that_says_nothing_is_put_aside(
    telegram: BotApi, change: dict[str, object]
) -> None:
    """No later delivery could make it whole."""
    async with edge(telegram) as hub:
        telegram.push(my_chat_member=change)

        await telegram.until(lambda: hub.quarantined)
