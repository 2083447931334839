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
        await telegram.until(lambda: not hub.connector._bot.display._screens)
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

        await telegram.until(lambda: not hub.connector._bot.display._screens)


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
        assert not hub.connector._bot.display._screens
    assert telegram.answers(CHAT) == ["first answer", "second answer"]


async def test_without_live_text_there_is_typing(telegram: BotApi) -> None:
    """A hub without live text still shows that it works, and stops when it has answered."""
    async with edge(telegram, live=False) as hub:
        telegram.say(CHAT, "question")
        await telegram.until(lambda: telegram.chat(CHAT).actions == ["typing"])
        await hub.connector.send(reply("answer"), MemoryProgress())

        assert not hub.connector._bot.display._screens


def _waiting(wait_s: float, turn: str = "0-0") -> LiveEvent:
    return LiveEvent(kind="waiting", conversation=CONVERSATION, turn=turn, wait_s=wait_s)


async def test_a_wait_is_told_in_the_draft_until_there_is_text(telegram: BotApi) -> None:
    """No message of its own: the bubble of the answer says it, and then holds the answer."""
    async with edge(telegram) as hub:
        await _asked(hub)
        hub.live.tell(_waiting(60.4))
        await telegram.until(
            lambda: telegram.chat(CHAT).visible_draft() == "About 60 s until it is your turn…"
        )
        hub.live.tell(_waiting(0))
        await telegram.until(
            lambda: telegram.chat(CHAT).visible_draft() == "It is your turn in a moment…", 30
        )
        hub.live.tell(LiveEvent(kind="typing", conversation=CONVERSATION, turn="0-0"))
        hub.live.tell(_delta("Here it is"))
        await telegram.until(lambda: telegram.chat(CHAT).visible_draft() == "Here it is", 30)

    assert telegram.answers(CHAT) == []
    assert len({draft_id for draft_id, _ in telegram.chat(CHAT).draft_texts}) == 1


async def test_a_wait_that_is_known_at_once_is_told_at_once(telegram: BotApi) -> None:
    """The hub estimates it when it takes the message."""
    async with edge(telegram) as hub:
        hub.bus.wait_s = 300
        await _asked(hub)

        await telegram.until(
            lambda: telegram.chat(CHAT).visible_draft() == "About 300 s until it is your turn…"
        )


async def test_the_wait_of_a_second_question_does_not_hide_the_first_answer(telegram: BotApi) -> None:
    """It is told once the first one is done."""
    async with edge(telegram) as hub:
        await _asked(hub)
        hub.live.tell(_delta("First"))
        telegram.say(CHAT, "second")
        await hub.received(2)
        hub.live.tell(_waiting(60, turn="1-0"))
        hub.live.tell(_delta(" answer", 5))
        await telegram.until(lambda: telegram.chat(CHAT).visible_draft() == "First answer")
        await telegram.until(lambda: not telegram.pending)

        await hub.connector.send(reply("First answer"), MemoryProgress())

        await telegram.until(
            lambda: "until it is your turn" in (telegram.chat(CHAT).visible_draft() or ""), 30
        )


async def test_a_cancelled_turn_ends_the_display_and_leaves_no_message(telegram: BotApi) -> None:
    """Its draft is drawn no more; Telegram takes it away, at the latest when the bot says something else."""
    async with edge(telegram) as hub:
        await _asked(hub)
        hub.live.tell(_delta("half"))
        await telegram.until(lambda: telegram.chat(CHAT).visible_draft() == "half")
        cancelled = reply("").model_copy(update={"kind": "cancelled"})

        await hub.connector.send(cancelled, MemoryProgress())
        drafts = len(telegram.chat(CHAT).draft_texts)
        hub.live.tell(_delta(" ghost", 4))
        await hub.connector.send(reply("Stopped.", turn="1-0"), MemoryProgress())

        assert telegram.chat(CHAT).visible_draft() is None
    assert telegram.answers(CHAT) == ["Stopped."]
    assert len(telegram.chat(CHAT).draft_texts) == drafts
    assert hub.live.announced[0] == cancelled


async def test_a_draft_can_be_stopped(telegram: BotApi) -> None:
    """Telegram shows a button below it; pressing it is a `/stop` of that person."""
    async with edge(telegram) as hub:
        await _asked(hub)
        hub.live.tell(_delta("half"))
        await telegram.until(lambda: telegram.chat(CHAT).visible_draft() == "half")
        assert telegram.called("sendMessageDraft")[-1]["can_stop"] is True
        [(draft_id, _)] = telegram.chat(CHAT).draft_texts
        stopped = {"chat": telegram.chat(CHAT).as_json(), "draft_id": draft_id}
        update_id = telegram.push(stopped_message_generation=stopped)
        await hub.received(2)

    question, stop = hub.bus.accepted
    assert (stop.text, stop.external_key) == ("/stop", f"tg:123456:{update_id}")
    assert (stop.conversation, stop.address.chat) == (question.conversation, question.address.chat)
    assert stop.address.person == question.address.person


async def test_a_stop_without_a_chat_is_put_aside(telegram: BotApi) -> None:
    """No later delivery could make it whole."""
    async with edge(telegram) as hub:
        telegram.push(stopped_message_generation={"draft_id": 1})
        await telegram.until(lambda: hub.quarantined)

        assert hub.bus.accepted == []
