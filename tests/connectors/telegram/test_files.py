"""Documents come along with their text; what cannot be read is named, and never holds a message up."""

import time
from typing import Any

import pytest

from connectors.telegram import files
from connectors.telegram.phrases import WORDS
from tests.connectors.telegram.harness import CHAT, edge
from tests.emulators.bot_api import BotApi


async def test_a_document_is_read(telegram: BotApi) -> None:
    """Its name and type are Telegram's, its text comes from the reader; no words are needed."""
    async with edge(telegram) as hub:
        telegram.say(CHAT, None, document=telegram.document(b"Opening hours: 9 to 5", "hours.txt"))
        await hub.received(1)

    [message] = hub.bus.accepted
    [attachment] = message.attachments
    assert message.text == ""
    assert attachment.model_dump() == {
        "name": "hours.txt",
        "media_type": "text/plain",
        "size_bytes": 21,
        "text": "Opening hours: 9 to 5",
        "problem": "",
        "is_cut": False,
    }


async def test_a_document_with_a_caption_is_one_message(telegram: BotApi) -> None:
    """Both are in the turn."""
    async with edge(telegram) as hub:
        telegram.say(CHAT, None, document=telegram.document(b"x"), caption="what is it?")

        assert await hub.received(1) == ["what is it?"]
    assert hub.bus.accepted[0].attachments[0].text == "x"


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("../../etc/passwd", "_.._etc_passwd"),
        ("a\x00b\u202egnp.exe", "a_bgnp.exe"),
        ("", "document"),
        (None, "document"),
        ("x" * 300 + ".pdf", "x" * 196 + ".pdf"),
    ],
)
async def test_names_are_made_harmless(telegram: BotApi, told: str | None, name: str) -> None:
    """They end up in prompts, logs and paths of others."""
    async with edge(telegram) as hub:
        document = telegram.document(b"x") | {"file_name": told, "mime_type": "<script>"}
        telegram.say(CHAT, None, document=document)
        await hub.received(1)

    [attachment] = hub.bus.accepted[0].attachments
    assert (attachment.name, attachment.media_type) == (name, "application/octet-stream")


@pytest.mark.parametrize("how", ["told", "by getFile", "found out"])
async def test_a_file_that_is_too_large_is_not_fetched(
    telegram: BotApi, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Whether Telegram says so before, when it is asked, or not at all."""
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 1000)
    async with edge(telegram) as hub:
        document = telegram.document(b"x" * 5000)
        if how != "told":
            document["file_size"] = 10
        telegram.file_sizes[document["file_id"]] = 10 if how == "found out" else 30 * 1024 * 1024
        telegram.say(CHAT, "", document=document, caption="read it")
        await hub.received(1)

    [attachment] = hub.bus.accepted[0].attachments
    assert (attachment.problem, attachment.text) == ("too_large", "")
    assert len(telegram.called("getFile")) == (0 if how == "told" else 1)


@pytest.mark.parametrize(
    "fault",
    [
        {"method": "getFile", "status": 400, "description": "Bad Request: wrong file_id"},
        {"method": "getFile", "status": 502},
        {"method": "file", "status": 404},
        {"method": "file", "status": 502},
        # A GET over a used connection is repeated once by the client itself.
        {"method": "file", "reset": "before", "times": 2},
        {"method": "file", "status": 200, "delay_s": 30},
    ],
)
async def test_a_file_that_cannot_be_fetched_does_not_hold_the_message_up(
    telegram: BotApi, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    """It is published with the problem, long before Telegram hangs up."""
    monkeypatch.setattr(files, "READ_TIMEOUT_S", 1.0)
    async with edge(telegram) as hub:
        telegram.fail(**fault)
        began = time.monotonic()
        telegram.say(CHAT, None, document=telegram.document(b"x"), caption="read it")
        assert await hub.received(1) == ["read it"]
        assert time.monotonic() - began < 5

    assert hub.bus.accepted[0].attachments[0].problem == "unreachable"
    assert not hub.quarantined


async def test_a_reader_that_fails_or_takes_too_long_costs_only_the_file(
    telegram: BotApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message is published."""
    monkeypatch.setattr(files, "READ_TIMEOUT_S", 0.3)
    async with edge(telegram) as hub:
        hub.reader.error = ValueError("quotes the document")
        telegram.say(CHAT, None, document=telegram.document(b"x"), caption="one")
        await hub.received(1)
        hub.reader.error, hub.reader.delay_s = None, 30
        telegram.say(CHAT, None, document=telegram.document(b"x"), caption="two")
        await hub.received(2)

    assert [one.attachments[0].problem for one in hub.bus.accepted] == ["damaged", "unreachable"]


@pytest.mark.parametrize("field", ["photo", "voice", "video", "audio", "animation"])
async def test_a_caption_is_answered_and_what_it_stands_under_is_named(telegram: BotApi, field: str) -> None:
    """The answer can say what could not be read."""
    file = {"file_id": "f", "file_unique_id": "f", "duration": 1, "width": 1, "height": 1}
    media: Any = telegram.photo() if field == "photo" else file | {"mime_type": "x/y"}
    async with edge(telegram) as hub:
        # Telegram gives an animation as a document, too.
        more: dict[str, Any] = {"document": file} if field == "animation" else {}
        telegram.say(CHAT, None, caption="what is it?", **{field: media}, **more)
        assert await hub.received(1) == ["what is it?"]

    [attachment] = hub.bus.accepted[0].attachments
    assert (attachment.name, attachment.problem) == (field, "unsupported")
    assert not telegram.answers(CHAT)
    assert not telegram.called("getFile")


async def test_without_a_reader_documents_are_unsupported(telegram: BotApi) -> None:
    """They are still named."""
    async with edge(telegram, reader=False) as hub:
        telegram.say(CHAT, None, document=telegram.document(b"x"), caption="read it")
        await hub.received(1)

    assert hub.bus.accepted[0].attachments[0].problem == "unsupported"


async def test_documents_of_others_in_a_group_are_not_fetched(telegram: BotApi) -> None:
    """Only what is meant for the bot is read."""
    async with edge(telegram) as hub:
        telegram.say(-5, None, person=1, kind="supergroup", document=telegram.document(b"secret"))
        await telegram.until(lambda: not telegram.pending)

    assert not telegram.called("getFile")
    assert hub.connector.ignored == {"not_addressed": 1}


@pytest.mark.parametrize(("language", "words"), [("de", "de"), ("pt-br", "pt"), ("sv", "en"), ("", "en")])
async def test_notices_speak_the_language_of_their_reader(
    telegram: BotApi, language: str, words: str
) -> None:
    """English where there are no words for it."""
    async with edge(telegram):
        fields: dict[str, Any] = {"from": telegram.person(CHAT, language), "sticker": _sticker()}
        telegram.say(CHAT, None, **fields)
        await telegram.answered(CHAT)

    assert telegram.answers(CHAT) == [WORDS[words].text_only]


def _sticker() -> dict[str, Any]:
    size = {"file_id": "f", "file_unique_id": "f", "width": 1, "height": 1}
    return size | {"type": "regular", "is_animated": False, "is_video": False}


def test_every_language_says_everything() -> None:
    """No phrase is empty, what is filled in has its place, and toasts fit."""
    for words in WORDS.values():
        assert "{seconds}" in words.waiting
        assert "{name}" in words.model_asked_for
        assert all((words.text_only, words.please_wait, words.soon, words.sources))
        assert all(len(text) <= 200 for text in (words.thanks, words.too_old))
    assert set(WORDS) == {"en", "de", "es", "fr", "it", "pt", "nl", "pl", "ru", "hi", "ar", "zh"}
