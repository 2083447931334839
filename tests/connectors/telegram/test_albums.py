"""An album is one turn, whole and once, whatever happens while it is gathered."""

import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from connectors.telegram import albums
from connectors.telegram.phrases import WORDS
from hub.errors import BusError, BusFull
from hubbub.testing import MemoryStore
from tests.connectors.telegram.harness import CHAT, Edge, edge
from tests.emulators.bot_api import BotApi

GROUP = -100123


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(albums, "GATHER_S", 0.3)
    monkeypatch.setattr(albums, "RETRY_S", 0.05)


def _photos(telegram: BotApi, count: int, *captions: str) -> list[dict[str, Any]]:
    texts = [*captions, *[""] * (count - len(captions))]
    return [{"photo": telegram.photo()} | ({"caption": text} if text else {}) for text in texts]


@pytest.mark.parametrize("polling", [True, False])
async def test_ten_pieces_are_one_turn(telegram: BotApi, polling: bool) -> None:
    """Captions in the order of the pieces, one key, every piece confirmed."""
    async with edge(telegram, polling=polling) as hub:
        sent = telegram.album(CHAT, *_photos(telegram, 10, "first", "second"))
        await hub.received(1)
        await telegram.until(lambda: not telegram.pending)
        await asyncio.sleep(0.5)

    [message] = hub.bus.accepted
    assert message.text == "first\n\nsecond"
    assert message.external_key == f"tg:123456:album:{CHAT}:13500"
    assert message.origin == str(sent[0]["message_id"])
    assert [one.problem for one in message.attachments] == ["unsupported"] * 10
    assert [message.conversation, message.address.person] == [f"telegram-123456-{CHAT}", str(CHAT)]
    assert not hub.store.sets[f"albums:123456:{CHAT}:{CHAT}:13500:pieces"]


async def test_pieces_are_put_in_the_order_they_were_sent(telegram: BotApi) -> None:
    """Whatever order they arrive in."""
    async with edge(telegram) as hub:
        pieces = [
            telegram.message(CHAT, None, media_group_id="9", photo=telegram.photo(), caption=text)
            for text in ("one", "two", "three")
        ]
        for message in (pieces[2], pieces[0], pieces[1]):
            telegram.push(message=message)

        assert await hub.received(1) == ["one\n\ntwo\n\nthree"]


async def test_what_is_written_next_does_not_overtake_an_album(telegram: BotApi) -> None:
    """The album is published first, without waiting for its time."""
    async with edge(telegram) as hub:
        telegram.album(CHAT, *_photos(telegram, 3, "look"))
        telegram.say(CHAT, "what do you say?")

        assert await hub.received(2) == ["look", "what do you say?"]


async def test_what_others_write_in_between_does_not_tear_an_album(telegram: BotApi) -> None:
    """In a group somebody else may be faster than the last piece."""
    async with edge(telegram) as hub:
        pieces = _photos(telegram, 2, "@hub_bot one", "two")
        telegram.album(GROUP, pieces[0], person=5, kind="supergroup")
        telegram.say(GROUP, "/help", person=6, kind="supergroup")
        telegram.album(GROUP, pieces[1], person=5, kind="supergroup")

        assert await hub.received(2) == ["/help", "one"]
    assert len(hub.bus.accepted[1].attachments) == 2


async def test_two_albums_are_two_turns(telegram: BotApi) -> None:
    """Telegram splits more than ten files; each album is published when the next begins."""
    async with edge(telegram) as hub:
        telegram.album(CHAT, *_photos(telegram, 2, "a"), group="1")
        telegram.album(CHAT, *_photos(telegram, 2, "b"), group="2")

        assert await hub.received(2) == ["a", "b"]


async def test_documents_of_an_album_are_read(telegram: BotApi) -> None:
    """Also where nothing is said about them."""
    async with edge(telegram) as hub:
        files = [{"document": telegram.document(text.encode(), f"{text}.txt")} for text in ("one", "two")]
        telegram.album(CHAT, *files)
        await hub.received(1)

    [message] = hub.bus.accepted
    assert message.text == ""
    assert [(one.name, one.text) for one in message.attachments] == [("one.txt", "one"), ("two.txt", "two")]


async def test_pictures_without_a_word_get_one_polite_word(telegram: BotApi) -> None:
    """Nothing is published."""
    async with edge(telegram) as hub:
        telegram.album(CHAT, *_photos(telegram, 5))
        await telegram.answered(CHAT)

    assert telegram.answers(CHAT) == [WORDS["en"].text_only]
    assert not hub.bus.accepted


@pytest.mark.parametrize("caption_at", [0, 2])
async def test_an_album_in_a_group_is_called_by_any_of_its_pieces(telegram: BotApi, caption_at: int) -> None:
    """Telegram puts the caption of documents below the last one."""
    async with edge(telegram) as hub:
        files: list[dict[str, Any]] = [{"document": telegram.document(b"%d" % number)} for number in range(3)]
        files[caption_at]["caption"] = "@hub_bot compare"
        sent = telegram.album(GROUP, *files, person=5, kind="supergroup")
        await hub.received(1)

    [message] = hub.bus.accepted
    assert message.text == "compare"
    assert [one.text for one in message.attachments] == ["0", "1", "2"]
    assert message.reply["message_id"] == str(sent[caption_at]["message_id"])


async def test_an_album_that_does_not_call_the_bot_leaves_no_trace(telegram: BotApi) -> None:
    """Nothing of it is published, and its words are not even kept for a moment."""
    async with edge(telegram) as hub:
        telegram.album(GROUP, *_photos(telegram, 2, "private words"), person=5, kind="supergroup")
        await telegram.until(lambda: not telegram.pending)
        assert "private words" not in hub.store.texts
        await telegram.until(lambda: not any(hub.store.sets.values()))

    assert not hub.bus.accepted
    assert not telegram.answers(GROUP)


async def test_an_album_half_gathered_survives_a_crash(
    telegram: BotApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was confirmed lies in the store; the next process publishes it with what comes after."""
    monkeypatch.setattr(albums, "GATHER_S", 1.5)
    store = MemoryStore()
    async with edge(telegram, store=store) as hub:
        pieces = _photos(telegram, 3, "one", "two", "three")
        telegram.album(CHAT, pieces[0], pieces[1])
        await telegram.until(lambda: not telegram.pending)
        hub.running.cancel()
        await telegram.until(hub.running.done)
        assert not hub.bus.accepted
    async with edge(telegram, store=store) as hub:
        telegram.album(CHAT, pieces[2])

        assert await hub.received(1) == ["one\n\ntwo\n\nthree"]


async def test_pieces_that_come_again_change_nothing(telegram: BotApi) -> None:
    """Telegram repeats what it got no answer for, even long after the album was published."""
    async with edge(telegram) as hub:
        sent = telegram.album(CHAT, *_photos(telegram, 3, "look"))
        await hub.received(1)
        await telegram.until(lambda: not telegram.pending)
        again = [
            json.dumps({"update_id": 5000 + n, "message": piece}).encode() for n, piece in enumerate(sent)
        ]
        for body in (again[0], *again):
            assert await telegram.post_update(body) == 200
        await telegram.until(lambda: not any(hub.store.sets.values()))

    assert hub.bus.texts == ["look"]


async def test_a_piece_that_comes_late_is_a_turn_of_its_own(telegram: BotApi) -> None:
    """Late is better than never, and the album is not answered twice."""
    async with edge(telegram) as hub:
        pieces = _photos(telegram, 2, "early", "late")
        telegram.album(CHAT, pieces[0])
        await hub.received(1)
        telegram.album(CHAT, pieces[1])
        await hub.received(2)

    assert hub.bus.texts == ["early", "late"]
    assert hub.bus.accepted[1].external_key == f"tg:123456:album:{CHAT}:13500:1"


@pytest.mark.parametrize("failure", [BusError("Redis is away"), BusFull(0.05)])
async def test_an_album_waits_for_the_bus(telegram: BotApi, failure: BusError) -> None:
    """It stays in the store until it was published."""
    async with edge(telegram) as hub:
        hub.bus.failure = failure
        with capture_logs() as logs:
            telegram.album(CHAT, *_photos(telegram, 2, "look"))
            await telegram.until(lambda: [one for one in logs if one["event"] == "album_not_published"])
        hub.bus.failure = None

        assert await hub.received(1) == ["look"]


async def test_a_piece_that_cannot_be_kept_is_not_confirmed(telegram: BotApi) -> None:
    """Telegram is told 503 and delivers it again."""
    async with edge(telegram) as hub:
        hub.store.failure = BusError("Redis is away")
        telegram.album(CHAT, *_photos(telegram, 2, "look"))
        await telegram.until(lambda: telegram.deliveries)
        assert telegram.deliveries[0][1] == 503
        hub.store.failure = None

        assert await hub.received(1) == ["look"]


async def test_two_processes_publish_an_album_once(telegram: BotApi) -> None:
    """Whoever comes second finds what was decided, and its key taken."""
    store = MemoryStore()
    async with edge(telegram, store=store) as first, edge(telegram, store=store) as second:
        second.bus.accepted = first.bus.accepted
        sent = telegram.album(CHAT, *_photos(telegram, 4, "look"))
        await telegram.until(lambda: not telegram.pending)
        intakes = [hub.connector._intake for hub in (first, second)]
        await asyncio.gather(*(one._albums._finish(f"{CHAT}:{CHAT}:13500") for one in intakes if one))
        await _quiet(first)

    assert len(sent) == 4
    assert first.bus.texts == ["look"]


async def test_an_album_of_a_process_that_ended_is_published_by_one_that_runs(
    telegram: BotApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pieces were confirmed: nobody sends them again."""
    monkeypatch.setattr("connectors.telegram.albums.LOOK_EVERY_S", 0.1)
    store = MemoryStore()
    async with edge(telegram, store=store) as running:
        async with edge(telegram, store=store) as ending:
            ending.bus.accepted = running.bus.accepted
            await telegram.until(lambda: ending.connector._intake)
            intake = ending.connector._intake
            assert intake is not None
            monkeypatch.setattr(intake._albums, "_await_more", lambda name: None)
            pieces = telegram.album(CHAT, *_photos(telegram, 2, "look"))
            await telegram.until(lambda: not telegram.pending)
        await _quiet(running)

    assert len(pieces) == 2
    assert running.bus.texts == ["look"]


async def _quiet(hub: Edge) -> None:
    await hub.telegram.until(lambda: not any(hub.store.sets.values()))
