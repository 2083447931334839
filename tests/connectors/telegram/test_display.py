"""While an answer is generated the chat sees it coming; nothing of that can harm the answer."""

from hub.live import LiveEvent
from tests.connectors.telegram.harness import CHAT, Edge, MemoryProgress, edge, reply
from tests.emulators.bot_api import BotApi

CONVERSATION = f"telegram-123456-{CHAT}"


def _delta(text: str, offset: int = 0, turn: str = "0-0") -> LiveEvent:
    return LiveEvent(kind="delta", conversation=CONVERSATION, turn=turn, offset=offset, text=text)


async def _asked(hub: Edge) -> None:
    hub.telegram.say(CHAT, "question")
    await hub.received(1)
    await hub.telegram.until(hub.live.listening.is_set)


async def test_typing_is_shown_from_the_first_moment(telegram: BotApi) -> None:
    """Before there is any text the chat shows "typing"."""
    async with edge(telegram) as hub:
        await _asked(hub)

        await telegram.until(lambda: telegram.chat(CHAT).actions == ["typing"])


async def test_draft_grows_and_gives_way_to_the_answer(telegram: BotApi) -> None:
    """The same bubble is drawn again and again; the answer replaces it, and no draft comes after."""
    async with edge(telegram) as hub:
        await _asked(hub)
        hub.live.tell(_delta("The **ans"))
        await telegram.until(lambda: telegram.chat(CHAT).visible_draft() == "The **ans")
        hub.live.tell(_delta("wer** is 42", 9))
        await telegram.until(lambda: telegram.chat(CHAT).visible_draft() == "The answer is 42")
        hub.live.tell(_delta(". Late", 20))
        await hub.connector.send(reply("The **answer** is 42."), MemoryProgress())

        drafts = len(telegram.chat(CHAT).draft_texts)
        hub.live.tell(_delta(" ghost", 26))
        assert telegram.answers(CHAT) == ["The answer is 42."]
        assert telegram.chat(CHAT).visible_draft() is None
    assert len({draft_id for draft_id, _ in telegram.chat(CHAT).draft_texts}) == 1
    assert len(telegram.chat(CHAT).draft_texts) == drafts


async def test_reset_starts_the_text_again(telegram: BotApi) -> None:
    """Another worker begins the turn anew: what was shown is dropped."""
    async with edge(telegram) as hub:
        await _asked(hub)
        hub.live.tell(_delta("first try"))
        await telegram.until(lambda: telegram.chat(CHAT).visible_draft() == "first try")
        hub.live.tell(LiveEvent(kind="reset", conversation=CONVERSATION, turn="0-0"))
        hub.live.tell(_delta("second"))

        await telegram.until(lambda: telegram.chat(CHAT).visible_draft() == "second")


async def test_missed_text_is_fetched(telegram: BotApi) -> None:
    """A gap in the offsets is filled from what the engine has written so far."""
    async with edge(telegram) as hub:
        await _asked(hub)
        hub.live.partials["0-0"] = "all of it"
        hub.live.tell(_delta(" it", 6))

        await telegram.until(lambda: telegram.chat(CHAT).visible_draft() == "all of it")


async def test_refused_draft_does_not_harm_the_answer(telegram: BotApi) -> None:
    """A Bot API without drafts shows "typing" and the answer."""
    async with edge(telegram) as hub:
        telegram.fail("sendMessageDraft", 400, "Bad Request: unknown method", times=10)
        await _asked(hub)
        hub.live.tell(_delta("text"))
        await telegram.until(lambda: telegram.called("sendMessageDraft"))
        hub.live.tell(_delta(" more", 4))
        await hub.connector.send(reply("text more"), MemoryProgress())

    assert telegram.answers(CHAT) == ["text more"]
    assert len(telegram.called("sendMessageDraft")) == 1


async def test_failing_live_text_does_not_harm_the_answer(telegram: BotApi) -> None:
    """Even an error in the source of live text is only logged."""
    async with edge(telegram) as hub:
        await _asked(hub)
        hub.live.tell(_delta("gap", 5))  # there is no partial to fill it with
        await telegram.until(lambda: not hub.connector._display._screens)
        await hub.connector.send(reply("answer"), MemoryProgress())

    assert telegram.answers(CHAT) == ["answer"]


async def test_groups_see_typing_only(telegram: BotApi) -> None:
    """Drafts are for private chats."""
    async with edge(telegram) as hub:
        telegram.say(-5, "/help", person=1, kind="supergroup")
        await hub.received(1)
        await telegram.until(hub.live.listening.is_set)
        hub.live.tell(LiveEvent(kind="delta", conversation="telegram-123456--5", turn="0-0", text="text"))
        await telegram.until(lambda: telegram.chat(-5).actions)
        await hub.connector.send(reply("text", chat=-5, conversation="telegram-123456--5"), MemoryProgress())

    assert telegram.answers(-5) == ["text"]
    assert not telegram.called("sendMessageDraft")


async def test_final_elsewhere_ends_the_display(telegram: BotApi) -> None:
    """The reply may be sent by another process: its announcement stops "typing" here."""
    async with edge(telegram) as hub:
        await _asked(hub)
        final = reply("done")
        hub.live.tell(LiveEvent(kind="final", conversation=CONVERSATION, turn="0-0", message=final))

        await telegram.until(lambda: not hub.connector._display._screens)


async def test_second_question_keeps_typing_after_the_first_answer(telegram: BotApi) -> None:
    """Only the answered turn is over."""
    async with edge(telegram) as hub:
        await _asked(hub)
        telegram.say(CHAT, "second")
        await hub.received(2)
        await telegram.until(lambda: not telegram.pending)
        await hub.connector.send(reply("first answer"), MemoryProgress())
        hub.live.tell(_delta("second text", turn="1-0"))

        await telegram.until(lambda: telegram.chat(CHAT).visible_draft() == "second text")
        await hub.connector.send(reply("second answer", turn="1-0"), MemoryProgress())
        assert not hub.connector._display._screens
    assert telegram.answers(CHAT) == ["first answer", "second answer"]


async def test_without_live_text_there_is_typing(telegram: BotApi) -> None:
    """A hub without live text still shows that it works, and stops when it has answered."""
    async with edge(telegram, live=False) as hub:
        telegram.say(CHAT, "question")
        await telegram.until(lambda: telegram.chat(CHAT).actions == ["typing"])
        await hub.connector.send(reply("answer"), MemoryProgress())

        assert not hub.connector._display._screens
