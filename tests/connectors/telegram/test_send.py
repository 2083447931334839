"""Replies reach the chat whole, once, and in order, whatever Telegram answers."""

import asyncio
import json

import pytest
from structlog.testing import capture_logs

from hub.errors import DeliveryRefused, RetryLater
from hub.messages import Source
from tests.connectors.telegram.harness import CHAT, MemoryProgress, edge, reply
from tests.emulators.bot_api import BotApi

LONG = "\n\n".join(f"Paragraph {number}: " + "word " * 100 for number in range(20))


def _source(number: int, title: str, heading: str = "", location: str = "") -> Source:
    return Source(number=number, title=title, heading=heading, location=location, quote="q", score=0.9)


async def test_reply_shows_formatting_and_sources(telegram: BotApi) -> None:
    """Markdown becomes entities; the sources follow as a numbered list."""
    telegram.chat(CHAT)
    sources = (_source(1, "Guide", "Install", "docs/guide.md"), _source(2, "faq.md", "", "faq.md"))
    async with edge(telegram) as hub:
        progress = MemoryProgress()

        await hub.connector.send(reply("Run **this** first [1].", sources=sources), progress)

    [message] = telegram.messages(CHAT)
    assert message.text == "Run this first [1].\n\nSources:\n[1] Guide — Install (docs/guide.md)\n[2] faq.md"
    assert message.entities == [{"type": "bold", "offset": 4, "length": 4}]
    assert progress.placed_parts == {0: str(message.message_id)}
    assert hub.live.announced


async def test_long_reply_comes_in_parts_in_order(telegram: BotApi) -> None:
    """Nothing is lost between the parts, and each fits."""
    telegram.chat(CHAT)
    async with edge(telegram) as hub:
        await hub.connector.send(reply(LONG), MemoryProgress())

    assert len(telegram.answers(CHAT)) == 3
    assert "".join("".join(telegram.answers(CHAT)).split()) == "".join(LONG.split())


async def test_reply_goes_on_at_the_first_part_that_is_not_placed(telegram: BotApi) -> None:
    """After a failure in the middle the parts that arrived are not sent again."""
    telegram.chat(CHAT)
    async with edge(telegram) as hub:
        progress = MemoryProgress()
        telegram.fail("sendMessage", 200)
        telegram.fail("sendMessage", 500)
        with pytest.raises(RetryLater):
            await hub.connector.send(reply(LONG), progress)
        assert progress.begun == [0, 1]
        assert list(progress.placed_parts) == [0]

        await hub.connector.send(reply(LONG), progress)

    assert progress.begun == [0, 1, 1, 2]
    assert "".join("".join(telegram.answers(CHAT)).split()) == "".join(LONG.split())


async def test_flood_wait_is_kept_for_its_chat_alone(telegram: BotApi) -> None:
    """No call reaches the chat before the time is over; other chats are served."""
    telegram.chat(CHAT)
    telegram.chat(1)
    async with edge(telegram) as hub:
        telegram.fail("sendMessage", 429, retry_after=7, chat=CHAT)
        with pytest.raises(RetryLater) as wait:
            await hub.connector.send(reply("hello"), MemoryProgress())
        with pytest.raises(RetryLater) as still:
            await hub.connector.send(reply("hello"), MemoryProgress())
        await hub.connector.send(reply("other", chat=1), MemoryProgress())

    assert (wait.value.retry_after_s, wait.value.unclear) == (7, False)
    assert 6 < still.value.retry_after_s <= 7
    assert [call["chat_id"] for call in telegram.called("sendMessage")] == [CHAT, 1]


@pytest.mark.parametrize("status", [500, 502])
async def test_server_error_is_tried_later(telegram: BotApi, status: int) -> None:
    """A failing Telegram keeps the reply on its stream."""
    telegram.chat(CHAT)
    async with edge(telegram) as hub:
        telegram.fail("sendMessage", status)

        with pytest.raises(RetryLater):
            await hub.connector.send(reply("hello"), MemoryProgress())


async def test_silence_is_an_unclear_end(telegram: BotApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call without an answer in time may have been carried out; it is recorded as such."""
    # Stands for any silence beyond the 30 s of a call: nobody listens any more, however long it goes on.
    monkeypatch.setattr("connectors.telegram.client.CALL_TIMEOUT_S", 1.0)
    telegram.chat(CHAT)
    async with edge(telegram) as hub:
        telegram.fail("sendMessage", 200, delay_s=30)

        with pytest.raises(RetryLater, match="timeout") as silent:
            await hub.connector.send(reply("hello"), MemoryProgress())

    assert silent.value.unclear


async def test_refused_connection_is_a_clear_failure(telegram: BotApi) -> None:
    """Nothing can have been carried out when there was no connection."""
    async with BotApi() as gone:
        url = gone.url
    telegram.chat(CHAT)
    async with edge(telegram) as hub:
        session = hub.connector._client._bot.session
        session.api = session.api.from_base(url)

        with pytest.raises(RetryLater) as refused:
            await hub.connector.send(reply("hello"), MemoryProgress())

    assert not refused.value.unclear


@pytest.mark.parametrize(("reset", "seen"), [("before", 1), ("after", 2)])
async def test_lost_connection_means_sending_again(telegram: BotApi, reset: str, seen: int) -> None:
    """The policy for answers: twice is better than never, and the part is on record as begun."""
    telegram.chat(CHAT)
    async with edge(telegram) as hub:
        progress = MemoryProgress()
        telegram.fail("sendMessage", reset=reset)
        with pytest.raises(RetryLater) as lost:
            await hub.connector.send(reply("hello"), progress)
        assert lost.value.unclear
        assert progress.begun == [0]
        assert not progress.placed_parts

        progress.unclear_part = 0
        await hub.connector.send(reply("hello"), progress)

    assert telegram.answers(CHAT) == ["hello"] * seen


async def test_blocked_bot_is_refused_for_good(telegram: BotApi) -> None:
    """403 cannot be cured by repeating."""
    telegram.chat(CHAT).blocked = True
    async with edge(telegram) as hub:
        with pytest.raises(DeliveryRefused, match="blocked by the user"):
            await hub.connector.send(reply("hello"), MemoryProgress())


async def test_unknown_chat_is_refused_for_good(telegram: BotApi) -> None:
    """So is a chat that does not exist."""
    async with edge(telegram) as hub:
        with pytest.raises(DeliveryRefused, match="chat not found"):
            await hub.connector.send(reply("hello"), MemoryProgress())


async def test_failing_part_holds_back_the_next(telegram: BotApi) -> None:
    """Part 3 is not sent when part 2 was refused."""
    telegram.chat(CHAT)
    async with edge(telegram) as hub:
        telegram.fail("sendMessage", 200)
        telegram.fail("sendMessage", 400, "Bad Request: something else")
        with pytest.raises(DeliveryRefused):
            await hub.connector.send(reply(LONG), MemoryProgress())

    assert len(telegram.answers(CHAT)) == 1


async def test_refused_formatting_is_sent_as_plain_text(telegram: BotApi) -> None:
    """The same part arrives once, without entities."""
    telegram.chat(CHAT)
    async with edge(telegram) as hub:
        telegram.fail("sendMessage", 400, "Bad Request: can't parse entities: odd")
        progress = MemoryProgress()
        await hub.connector.send(reply("**bold** text"), progress)

    [message] = telegram.messages(CHAT)
    assert (message.text, message.entities) == ("bold text", [])
    assert progress.begun == [0]


async def test_moved_group_gets_the_reply_under_its_new_id(telegram: BotApi) -> None:
    """A supergroup that was a group is answered, now and later."""
    telegram.chat(-5, "group").moved_to = -1005
    telegram.chat(-1005, "supergroup")
    async with edge(telegram) as hub:
        await hub.connector.send(reply("one", chat=-5), MemoryProgress())
        await hub.connector.send(reply("two", chat=-5), MemoryProgress())

    assert telegram.answers(-1005) == ["one", "two"]
    assert [call["chat_id"] for call in telegram.called("sendMessage")] == [-5, -1005, -1005]


async def test_answer_in_a_group_points_at_the_question(telegram: BotApi) -> None:
    """Only the first part does; a deleted question does not stop the answer."""
    question = telegram.message(-5, "q", person=1, kind="supergroup")["message_id"]
    async with edge(telegram) as hub:
        await hub.connector.send(reply(LONG, chat=-5, reply_to=question, thread="9"), MemoryProgress())
        await hub.connector.send(reply("gone", chat=-5, reply_to=999), MemoryProgress())

    answers = [message for message in telegram.messages(-5) if message.by_bot]
    assert [message.reply_to for message in answers] == [question, None, None, None]
    assert [message.thread for message in answers] == [9, 9, 9, None]


async def test_links_of_an_answer_are_not_fetched(telegram: BotApi) -> None:
    """Telegram is told to make no preview of an address the model wrote."""
    telegram.chat(CHAT)
    async with edge(telegram) as hub:
        await hub.connector.send(reply("see https://example.org/?q=secret"), MemoryProgress())

    assert telegram.called("sendMessage")[0]["link_preview_options"]["is_disabled"] is True


async def test_token_is_neither_in_logs_nor_in_errors(telegram: BotApi) -> None:
    """Whatever fails, the token stays out of sight."""
    telegram.chat(CHAT)
    wrong = "123456:" + "s3cret" * 6
    with capture_logs() as logs:
        async with edge(telegram, token=wrong) as hub:
            await hub.telegram.until(lambda: logs)
            with pytest.raises(RetryLater) as refused:
                await hub.connector.send(reply("x"), MemoryProgress())
        hub.connector._client._bot.session.api = hub.connector._client._bot.session.api.from_base(
            "nonsense://x"
        )
        with pytest.raises(RetryLater) as unreachable:
            await hub.connector.send(reply("x"), MemoryProgress())
        await hub.connector.close()

    seen = json.dumps(logs, default=repr) + repr(refused.value) + repr(unreachable.value)
    assert "s3cret" not in seen
    assert unreachable.value.__cause__ is None
    assert unreachable.value.__suppress_context__
    assert {entry["event"] for entry in logs} >= {"telegram_token_refused"}


async def test_many_chats_are_answered_at_once(telegram: BotApi) -> None:
    """Replies to different chats do not wait for each other."""
    chats = range(1, 51)
    for chat in chats:
        telegram.chat(chat)
    async with edge(telegram) as hub:
        await asyncio.gather(*(hub.connector.send(reply(f"r{c}", chat=c), MemoryProgress()) for c in chats))

    assert all(telegram.answers(chat) == [f"r{chat}"] for chat in chats)
