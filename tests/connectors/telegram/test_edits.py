"""An edited question is asked anew and its answer takes the place of the earlier one."""

import time
from typing import Any

import pytest

from connectors.telegram import albums
from hub.errors import DeliveryRefused, RetryLater
from hub.live import LiveEvent
from hub.messages import OutboundMessage
from tests.connectors.telegram.harness import CHAT, Edge, MemoryProgress, edge, reply
from tests.emulators.bot_api import BotApi

LONG = "\n\n".join(f"Paragraph {number}: " + "word " * 100 for number in range(20))
"""Three parts."""


async def _settled(hub: Edge) -> None:
    await hub.telegram.until(lambda: not hub.telegram.pending)


@pytest.mark.parametrize("polling", [True, False])
async def test_an_edit_is_published_and_names_what_it_replaces(telegram: BotApi, polling: bool) -> None:
    """A key of its own, the same origin, and no draft beside the old answer."""
    async with edge(telegram, polling=polling) as hub:
        message = telegram.message(CHAT, "what is it")
        telegram.push(message=message)
        update_id = telegram.edit(message, text="what is this?")
        await hub.received(2)
        await _settled(hub)

    question, edit = hub.bus.accepted
    assert (question.origin, question.replaces, question.stream) == ("1", "", True)
    assert (edit.text, edit.origin, edit.replaces) == ("what is this?", "1", "1")
    assert (edit.external_key, edit.stream) == (f"tg:123456:{update_id}", False)
    assert edit.conversation == question.conversation


async def test_an_edit_that_says_the_same_is_left_alone(telegram: BotApi) -> None:
    """Telegram reports link previews and the like as edits."""
    async with edge(telegram) as hub:
        message = telegram.message(CHAT, "see https://example.org")
        telegram.push(message=message)
        telegram.edit(message, link_preview_options={"is_disabled": True})
        telegram.edit(message, text="see https://example.org ")
        telegram.edit(message, text="see it")
        telegram.edit(message, text="see it")
        await _settled(hub)

    assert hub.bus.texts == ["see https://example.org", "see it"]
    assert hub.connector.ignored == {"edit_without_change": 3}


@pytest.mark.parametrize(("hours", "count"), [(47, 1), (49, 0)])
async def test_an_edit_of_an_old_message_is_left_alone(telegram: BotApi, hours: int, count: int) -> None:
    """After 48 h nobody waits for it."""
    async with edge(telegram) as hub:
        message = telegram.message(CHAT, "a", date=int(time.time()) - hours * 3600)
        telegram.edit(message, text="b")
        await _settled(hub)

    assert len(hub.bus.accepted) == count
    assert hub.connector.ignored == ({} if count else {"old_edit": 1})


async def test_an_edit_before_its_original_is_a_message(telegram: BotApi) -> None:
    """The original comes after it and is published, too."""
    async with edge(telegram) as hub:
        message = telegram.message(CHAT, "a")
        telegram.edit(message, text="b")
        telegram.push(message=message)

        assert await hub.received(2) == ["b", "a"]
    assert [one.replaces for one in hub.bus.accepted] == ["1", ""]


async def test_an_edit_in_a_group_must_call_the_bot(telegram: BotApi) -> None:
    """Calling it only in the edit is enough."""
    async with edge(telegram) as hub:
        message = telegram.message(-5, "hello", person=1, kind="supergroup")
        telegram.push(message=message)
        telegram.edit(message, text="hello all")
        telegram.edit(message, text="hello @hub_bot")
        await hub.received(1)
        await _settled(hub)

    assert [(one.text, one.replaces) for one in hub.bus.accepted] == [("hello", "1")]
    assert hub.connector.ignored == {"not_addressed": 2}


@pytest.mark.parametrize(
    "content",
    [{"caption": ""}, {"caption": None, "photo": None, "location": {"latitude": 1.0, "longitude": 2.0}}],
)
async def test_an_edit_without_words_is_left_alone(telegram: BotApi, content: dict[str, Any]) -> None:
    """It asks nothing, and a notice would explain nothing."""
    async with edge(telegram) as hub:
        message = telegram.message(CHAT, None, photo=telegram.photo(), caption="what?")
        telegram.push(message=message)
        telegram.edit(message, **content)
        await hub.received(1)
        await _settled(hub)

    assert hub.connector.ignored == {"edit_without_text": 1}
    assert not telegram.answers(CHAT)


async def test_an_edited_caption_asks_the_whole_album_anew(
    telegram: BotApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all of its files; it replaces the turn of the album. A second edit starts from the first."""
    monkeypatch.setattr(albums, "GATHER_S", 0.2)
    async with edge(telegram) as hub:
        files: list[dict[str, Any]] = [
            {"document": telegram.document(b"1")},
            {"document": telegram.document(b"2"), "caption": "sum"},
        ]
        sent = telegram.album(CHAT, *files)
        telegram.edit(sent[1], caption="product")
        telegram.edit(sent[1], caption="product")
        telegram.edit(sent[0], caption="the")
        await hub.received(3)
        await _settled(hub)

    assert hub.bus.texts == ["sum", "product", "the\n\nproduct"]
    assert [one.replaces for one in hub.bus.accepted] == ["", "1", "1"]
    assert [len(one.attachments) for one in hub.bus.accepted] == [2, 2, 2]
    assert hub.connector.ignored == {"edit_without_change": 1}


async def test_nothing_but_typing_is_shown_for_an_edit(telegram: BotApi) -> None:
    """A draft would stand beside the answer that is going to change."""
    async with edge(telegram) as hub:
        hub.bus.wait_s = 60
        message = telegram.message(CHAT, "a")
        telegram.edit(message, text="b")
        await hub.received(1)
        await telegram.until(lambda: telegram.chat(CHAT).actions)
        conversation = f"telegram-123456-{CHAT}"
        hub.live.tell(LiveEvent(kind="waiting", conversation=conversation, turn="0-0", wait_s=60))
        await telegram.until(lambda: len(telegram.chat(CHAT).actions) >= 1)

    assert telegram.chat(CHAT).draft_texts == []


# -- replies -----------------------------------------------------------------------------------------------


async def _answered(hub: Edge, text: str) -> MemoryProgress:
    progress = MemoryProgress()
    await hub.connector.send(reply(text), progress)
    return MemoryProgress(replaced_parts=dict(progress.placed_parts))


def _anew(text: str) -> OutboundMessage:
    return reply(text, turn="1-0", replaces="0-0")


@pytest.mark.parametrize(
    ("before", "after"), [("old", "new"), (LONG, "new"), ("old", LONG), (LONG, LONG[:9000])]
)
async def test_an_answer_takes_the_place_of_another(telegram: BotApi, before: str, after: str) -> None:
    """Part for part; further parts are sent, parts too many are deleted."""
    telegram.chat(CHAT)
    async with edge(telegram) as hub:
        progress = await _answered(hub, before)
        [first, *_] = telegram.messages(CHAT)

        await hub.connector.send(_anew(after), progress)

    assert "".join("".join(telegram.answers(CHAT)).split()) == "".join(after.split())
    assert telegram.messages(CHAT)[0].message_id == first.message_id
    assert list(progress.placed_parts.values()) == [str(one.message_id) for one in telegram.messages(CHAT)]


async def test_an_answer_that_is_the_same_stays(telegram: BotApi) -> None:
    """Telegram refuses an edit without a change; that is as good as done."""
    telegram.chat(CHAT)
    async with edge(telegram) as hub:
        progress = await _answered(hub, "same")

        await hub.connector.send(_anew("same"), progress)

    assert telegram.answers(CHAT) == ["same"]
    assert progress.placed_parts == {0: "1"}


async def test_an_answer_that_is_gone_is_sent_anew_with_all_that_follows(telegram: BotApi) -> None:
    """What is left of the old one would stand above it, so it is deleted."""
    telegram.chat(CHAT)
    async with edge(telegram) as hub:
        progress = await _answered(hub, LONG)
        del telegram.chat(CHAT).messages[1]

        await hub.connector.send(_anew(LONG.replace("word", "term")), progress)

    assert [one.message_id for one in telegram.messages(CHAT)] == [4, 5, 6]
    assert "term" in telegram.answers(CHAT)[0]


async def test_replacing_goes_on_where_it_stopped(telegram: BotApi) -> None:
    """After a failure in the middle the parts that were edited are not touched again."""
    telegram.chat(CHAT)
    async with edge(telegram) as hub:
        progress = await _answered(hub, LONG)
        telegram.fail("editMessageText", 200)
        telegram.fail("editMessageText", 502)
        with pytest.raises(RetryLater):
            await hub.connector.send(_anew(LONG.replace("word", "term")), progress)
        assert list(progress.placed_parts) == [0]

        await hub.connector.send(_anew(LONG.replace("word", "term")), progress)

    assert [call["message_id"] for call in telegram.called("editMessageText")] == [1, 2, 2, 3]
    assert "word" not in "".join(telegram.answers(CHAT))


async def test_surplus_that_cannot_be_deleted_is_no_failure(telegram: BotApi) -> None:
    """Messages older than 48 h stay."""
    telegram.chat(CHAT)
    async with edge(telegram) as hub:
        progress = await _answered(hub, LONG)
        for message in telegram.messages(CHAT):
            message.date -= 50 * 3600

        await hub.connector.send(_anew("short"), progress)

    assert telegram.answers(CHAT)[0] == "short"


async def test_a_blocked_bot_cannot_replace_either(telegram: BotApi) -> None:
    """It is refused for good."""
    telegram.chat(CHAT)
    async with edge(telegram) as hub:
        progress = await _answered(hub, "old")
        telegram.chat(CHAT).blocked = True

        with pytest.raises(DeliveryRefused, match="blocked"):
            await hub.connector.send(_anew("new"), progress)
