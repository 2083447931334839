"""Buttons do what they say, once, and only where they belong."""

import pytest

from connectors.telegram.buttons import Buttons
from connectors.telegram.phrases import WORDS
from hub.errors import BusError
from hub.messages import Source
from tests.connectors.telegram.harness import CHAT, Edge, MemoryProgress, edge, reply
from tests.emulators.bot_api import BotApi
from tests.emulators.bot_api_chats import Visible, utf16_length

CONVERSATION = f"telegram-123456-{CHAT}"
SOURCE = Source(
    number=1, title="Guide", heading="Install", location="docs/guide.md", quote="Run *make* 😀.", score=0.9
)


async def _answered(hub: Edge, *sources: Source, chat: int = CHAT, thread: str = "") -> Visible:
    topic = f"-{thread}" if thread else ""
    conversation = f"telegram-123456-{chat}{topic}"
    hub.telegram.chat(chat, "private" if chat > 0 else "supergroup")
    hub.history.add(conversation, "0-0", *sources)
    await hub.connector.send(
        reply("Answer", chat=chat, sources=sources, conversation=conversation, thread=thread),
        MemoryProgress(),
    )
    return [one for one in hub.telegram.messages(chat) if one.by_bot][-1]


async def _done(hub: Edge, query: str) -> str:
    await hub.telegram.until(lambda: hub.telegram.queries[query] is not None and not hub.telegram.pending)
    return hub.telegram.queries[query] or ""


async def test_an_answer_can_be_judged(telegram: BotApi) -> None:
    """The hub is told, the person is thanked, and the button shows it."""
    async with edge(telegram, buttons=True) as hub:
        message = await _answered(hub)
        assert message.labels == ["👍", "👎"]
        said = await _done(hub, telegram.press(CHAT, "👍", person=9))

    assert said == WORDS["en"].thanks
    assert hub.feedback.calls == [("0-0", CONVERSATION, "9", "up")]
    assert message.labels == ["👍 ✓", "👎"]


async def test_a_judgement_is_changed_and_not_doubled(telegram: BotApi) -> None:
    """Pressing again changes nothing that is shown; the other button takes over."""
    async with edge(telegram, buttons=True) as hub:
        message = await _answered(hub)
        for thumb in ("👍", "👍", "👎"):
            await _done(hub, telegram.press(CHAT, thumb))

    assert [value for *_, value in hub.feedback.calls] == ["up", "up", "down"]
    assert message.labels == ["👍", "👎 ✓"]
    assert len(telegram.called("editMessageReplyMarkup")) == 2


@pytest.mark.parametrize("thread", ["", "7"])
async def test_a_group_sees_how_many_have_judged(telegram: BotApi, thread: str) -> None:
    """Everybody has one voice; topics count as well."""
    async with edge(telegram, buttons=True) as hub:
        message = await _answered(hub, SOURCE, chat=-5, thread=thread)
        for person, thumb in ((1, "👍"), (2, "👍"), (2, "👎"), (3, "👎"), (3, "👎")):
            await _done(hub, telegram.press(-5, thumb, person=person))

    assert message.labels == ["👍 1", "👎 2", "Sources"]


async def test_a_judgement_that_was_not_stored_comes_again(telegram: BotApi) -> None:
    """Telegram is told 503."""
    async with edge(telegram, buttons=True) as hub:
        await _answered(hub)
        hub.feedback.failure = BusError("Redis is away")
        query = telegram.press(CHAT, "👍")
        await telegram.until(lambda: any(status == 503 for _, status in telegram.deliveries))
        hub.feedback.failure = None
        await _done(hub, query)

    assert len(hub.feedback.calls) == 1


async def test_sources_are_shown_with_their_quotes(telegram: BotApi) -> None:
    """Nothing of them is read as formatting; the quote is marked as one."""
    async with edge(telegram, buttons=True) as hub:
        await _answered(hub, SOURCE)
        query = telegram.press(CHAT, "Sources", language="de")
        await telegram.answered(CHAT, 2)
        await _done(hub, query)

    shown = telegram.messages(CHAT)[-1]
    assert shown.text == "Quellen:\n\n[1] Guide — Install\ndocs/guide.md\nRun *make* 😀."
    [quote] = shown.entities
    assert (quote["type"], quote["length"]) == ("blockquote", utf16_length("Run *make* 😀."))


async def test_pressing_sources_again_and_again_shows_them_once(telegram: BotApi) -> None:
    """Impatience fills no chat."""
    async with edge(telegram, buttons=True) as hub:
        await _answered(hub, SOURCE)
        for _ in range(5):
            await _done(hub, telegram.press(CHAT, "Sources"))

    assert len(telegram.answers(CHAT)) == 2


async def test_sources_that_are_forgotten_are_told_as_such(telegram: BotApi) -> None:
    """After /new nothing is known of earlier turns."""
    async with edge(telegram, buttons=True) as hub:
        await _answered(hub, SOURCE)
        hub.history.past.clear()

        assert await _done(hub, telegram.press(CHAT, "Sources", language="fr")) == WORDS["fr"].too_old


@pytest.mark.parametrize(
    "data",
    [
        "",
        "x",
        "u:0-0",
        "u:0-0:AAAAAAAAAAAAAAAA",
        "u:../../etc:AAAAAAAAAAAAAAAA",
        "z:0-0:AAAAAAAAAAAAAAAA",
        "u" * 65,
    ],
)
async def test_a_button_that_was_not_made_here_does_nothing(telegram: BotApi, data: str) -> None:
    """It is answered, so that it stops blinking, counted and ignored."""
    async with edge(telegram, buttons=True) as hub:
        message = await _answered(hub)

        said = await _done(hub, telegram.press_data(CHAT, data, message))

    assert said == WORDS["en"].too_old
    assert hub.connector.ignored == {"unknown_button": 1}
    assert not hub.feedback.calls
    assert not hub.bus.accepted


async def test_a_button_works_in_its_own_chat_only(telegram: BotApi) -> None:
    """The turn of another chat cannot be named."""
    async with edge(telegram, buttons=True) as hub:
        stolen = (await _answered(hub, SOURCE)).keyboard
        mine = await _answered(hub, chat=99)
        for button in stolen[0]:
            await _done(hub, telegram.press_data(99, button["callback_data"], mine))

    assert hub.connector.ignored == {"unknown_button": 3}
    assert not hub.feedback.calls


async def test_a_button_still_works_after_the_group_has_moved(telegram: BotApi) -> None:
    """It belongs to the conversation, which goes on."""
    async with edge(telegram, buttons=True) as hub:
        message = await _answered(hub, chat=-5)
        telegram.upgrade(-5, -1005)
        await telegram.until(lambda: not telegram.pending)
        telegram.chat(-1005).messages[message.message_id] = message
        data = message.keyboard[0][0]["callback_data"]
        await _done(hub, telegram.press_data(-1005, data, message, person=3))

    assert hub.feedback.calls == [("0-0", "telegram-123456--5", "3", "up")]


async def test_buttons_are_not_offered_where_nobody_wants_to_know(telegram: BotApi) -> None:
    """A hub without feedback and history shows none, and neither do notices."""
    telegram.chat(CHAT)
    async with edge(telegram) as hub:
        await hub.connector.send(reply("plain", sources=(SOURCE,)), MemoryProgress())
    async with edge(telegram, buttons=True) as hub:
        await hub.connector.send(reply("notice", kind="notice"), MemoryProgress())

    assert [message.keyboard for message in telegram.messages(CHAT)] == [[], []]


async def test_buttons_stand_below_the_last_part_alone(telegram: BotApi) -> None:
    """Also where a longer answer takes the place of a shorter one."""
    long = "\n\n".join(f"{number} " + "word " * 150 for number in range(10))
    async with edge(telegram, buttons=True) as hub:
        await _answered(hub)
        progress = MemoryProgress(replaced_parts={0: "1"})
        await hub.connector.send(reply(long, turn="1-0", replaces="0-0"), progress)

    first, *between, last = telegram.messages(CHAT)
    assert not first.labels
    assert not any(message.labels for message in between)
    assert last.labels == ["👍", "👎"]


async def test_a_query_that_is_too_old_is_no_failure(telegram: BotApi) -> None:
    """After a while Telegram takes no answer to it; the judgement counts all the same."""
    async with edge(telegram, buttons=True) as hub:
        message = await _answered(hub)
        telegram.fail("answerCallbackQuery", 400, "Bad Request: query is too old")
        telegram.press(CHAT, "👍")
        await telegram.until(lambda: message.labels[0] == "👍 ✓")
        await telegram.until(lambda: not telegram.pending)

    assert len(hub.feedback.calls) == 1


@pytest.mark.parametrize(
    "query",
    [{}, {"id": 5, "from": {"id": 1}}, {"id": "\ud800", "from": {"id": 1}}, {"id": "5", "from": {"id": "1"}}],
)
async def test_a_query_without_id_or_sender_is_put_aside(telegram: BotApi, query: dict[str, object]) -> None:
    """Nobody could be answered."""
    async with edge(telegram) as hub:
        telegram.push(callback_query=query)

        await telegram.until(lambda: hub.quarantined)


# -- models ------------------------------------------------------------------------------------------------

MODELS = ("smollm2-135m", "a/very-long.name:" + "x" * 80)


async def test_a_model_is_picked_by_a_button(telegram: BotApi) -> None:
    """`/model` alone brings the choice; pressing says `/model NAME` for that person."""
    async with edge(telegram, models=MODELS) as hub:
        telegram.say(CHAT, "/model")
        await hub.received(1)
        listed = reply("Models: …", kind="notice", question="/model")
        await hub.connector.send(listed, MemoryProgress())
        message = telegram.messages(CHAT)[-1]
        assert message.labels == list(MODELS)
        said = await _done(hub, telegram.press(CHAT, "a/very", person=8, language="de"))

    chosen = hub.bus.accepted[-1]
    assert (chosen.text, chosen.address.person) == (f"/model {MODELS[1]}", "8")
    assert (chosen.conversation, chosen.language) == (CONVERSATION, "de")
    assert chosen.origin
    assert said.startswith("Modell: a/very")
    assert message.labels == [MODELS[0], f"{MODELS[1]} ✓"]


@pytest.mark.parametrize(
    ("question", "models"), [("/model smollm2-135m", MODELS), ("/help", MODELS), ("/model", MODELS[:1])]
)
async def test_a_choice_is_offered_only_where_there_is_one(
    telegram: BotApi, question: str, models: tuple[str, ...]
) -> None:
    """Not below other notices, and not of one model alone."""
    telegram.chat(CHAT)
    async with edge(telegram, models=models) as hub:
        await hub.connector.send(reply("…", kind="notice", question=question), MemoryProgress())

    assert not telegram.messages(CHAT)[0].keyboard


async def test_a_model_that_was_taken_away_cannot_be_chosen(telegram: BotApi) -> None:
    """The button is older than the registry."""
    async with edge(telegram, models=MODELS) as hub:
        telegram.say(CHAT, "/model")
        await hub.received(1)
        keyboard = hub.connector._bot.buttons.models(CONVERSATION, ["gone", "other"])
        assert keyboard
        data = keyboard.inline_keyboard[0][0].callback_data or ""

        said = await _done(hub, telegram.press_data(CHAT, data, telegram.messages(CHAT)[0]))

    assert said == WORDS["en"].too_old
    assert hub.bus.texts == ["/model"]


def test_data_fit_into_a_button() -> None:
    """64 bytes, whatever turn or model they are about; a turn that would not fit gets no button."""
    buttons = Buttons("token")
    votes: dict[str, str] = {}
    shown = buttons.below_answer(
        "c", "1732900000000-12", language="", votes=votes, private=True, sources=True
    )
    names = buttons.models("c", ["x" * 100, "y"])

    assert shown
    assert names
    for row in (*shown.inline_keyboard, *names.inline_keyboard):
        assert all(1 <= len((one.callback_data or "").encode()) <= 64 for one in row)
    assert buttons.below_answer("c", "9" * 60, language="", votes=votes, private=True, sources=True) is None
    assert Buttons("other").read(shown.inline_keyboard[0][0].callback_data or "", "c") is None
