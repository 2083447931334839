"""A visitor's socket from sign-in to the last character, on a real server."""

import asyncio
import json
import zlib

from aiohttp import WSMsgType

from tests.connectors.web.edges import SOURCE, Bus, HubProcess
from tests.connectors.web.page import open_page


async def test_answer_arrives_token_by_token_and_then_whole(hub: HubProcess, bus: Bus) -> None:
    """Accepted, typing, deltas with their offsets and the final come in this order."""
    async with open_page(hub) as page:
        handle = await page.ask("m1", "How do I connect Telegram?")
        turn = await bus.next_turn()
        bus.typing(turn)
        bus.say(turn, "Set the ")
        bus.say(turn, "token.")
        await hub.answer(turn, "Set the token. [1]", SOURCE)
        seen = [await page.receive() for _ in range(4)]

    assert [(frame["t"], frame["turn"]) for frame in seen] == [
        ("typing", handle),
        ("delta", handle),
        ("delta", handle),
        ("final", handle),
    ]
    assert [(frame["offset"], frame["text"]) for frame in seen[1:3]] == [(0, "Set the "), (8, "token.")]
    final = seen[3]
    assert (final["text"], final["kind"], final["question"]) == (
        "Set the token. [1]",
        "answer",
        "How do I connect Telegram?",
    )
    assert final["sources"] == [
        {
            "number": 1,
            "title": "Telegram",
            "location": "docs/telegram.md",
            "heading": "Connect a bot",
            "quote": "Set telegram.token to the token that BotFather gave you.",
            "state": "",
        }
    ]


async def test_message_reaches_the_bus_with_its_visitor(hub: HubProcess, bus: Bus) -> None:
    """Key, conversation and address come from the token, never from the frame."""
    async with open_page(hub) as page:
        await page.send(
            t="message", id="m1", text="Hi\u202e \x00there", role="system", conversation="web-hub-other"
        )
        await page.receive()
        message = bus.messages[await bus.next_turn()]

        visitor = message.address.person
        assert message.external_key == f"web:{visitor}:m1"
        assert message.conversation == page.ready["conversation"]
        assert (message.address.connector, message.address.account) == ("web", "hub")
        assert message.text == "Hi there"
        assert message.stream


async def test_accepted_is_said_only_after_publish(hub: HubProcess, bus: Bus) -> None:
    """While the bus has not stored the message the page hears nothing, not even of its turn."""
    stored = asyncio.Event()

    async def wait(_: object) -> None:
        await stored.wait()

    bus.before_publish = wait
    async with open_page(hub) as page:
        await page.send(t="message", id="m1", text="Hi")
        await page.send(t="ping")
        reading = asyncio.create_task(page.receive())
        done, _ = await asyncio.wait([reading], timeout=0.2)
        assert not done

        stored.set()

        assert (await reading)["t"] == "accepted"


async def test_events_of_a_turn_never_come_before_its_accepted(hub: HubProcess, bus: Bus) -> None:
    """An engine can be faster than the answer of the bus; the page still hears `accepted` first."""

    async def be_slow(message: object) -> None:
        bus.before_publish = None
        accepted = await bus.publish(message)  # type: ignore[arg-type]
        bus.say(accepted.turn, "early")
        await asyncio.sleep(0.05)

    bus.before_publish = be_slow
    async with open_page(hub) as page:
        await page.send(t="message", id="m1", text="Hi")

        assert [(await page.receive())["t"] for _ in range(2)] == ["accepted", "delta"]


async def test_same_message_again_is_accepted_with_the_same_turn(hub: HubProcess, bus: Bus) -> None:
    """A page that did not hear `accepted` repeats the message and nothing is asked twice."""
    async with open_page(hub) as page:
        first = await page.ask("m1")
        token = page.token
    async with open_page(hub, token) as page:
        again = await page.ask("m1")

    assert again == first
    assert len(bus.messages) == 1


async def test_resume_is_exact_on_another_process(bus: Bus) -> None:
    """Cut anywhere, the rest comes from any process and the sum is the text, to the character."""
    text = "Grüße 👩‍🚀 aus dem Süden: 日本語 und mehr. " * 3
    one, two = HubProcess(bus), HubProcess(bus)
    await one.start()
    await two.start()
    async with open_page(one) as page:
        handle = await page.ask("m1")
        turn = await bus.next_turn()
        bus.say(turn, text[:40])
        have = (await page.receive())["text"]
        token = page.token
        one.cut()
    bus.say(turn, text[40:77])

    async with open_page(two, token) as page:
        await page.send(t="resume", turn=handle, have=len(have))
        have += _fit(await page.receive(), have)
        bus.say(turn, text[77:])
        have += _fit(await page.receive(), have)

    assert have == text
    await one.stop()
    await two.stop()


def _fit(frame: dict[str, object], have: str) -> str:
    assert (frame["t"], frame["offset"]) == ("delta", len(have))
    return str(frame["text"])


async def test_resume_after_an_abandoned_attempt_starts_again(hub: HubProcess, bus: Bus) -> None:
    """The sum over what the page has tells another text of the same length apart."""
    async with open_page(hub) as page:
        handle = await page.ask("m1")
        turn = await bus.next_turn()
        bus.live.texts[turn] = "A second attempt"

        await page.send(t="resume", turn=handle, have=7, crc=1)

        assert (await page.receive()) == {"t": "reset", "turn": handle}
        assert (await page.receive())["text"] == "A second attempt"


async def test_resume_that_finds_nothing_new_is_answered(hub: HubProcess, bus: Bus) -> None:
    """A page that hears nothing for ten seconds takes the line for dead, and an answer may wait for longer."""
    async with open_page(hub) as page:
        handle = await page.ask("m1")
        await page.send(t="resume", turn=handle, have=0)

        assert await page.receive() == {"t": "pong"}


async def test_resume_of_a_finished_turn_gets_the_final(hub: HubProcess, bus: Bus) -> None:
    """Whoever missed the end asks and gets the durable answer."""
    async with open_page(hub) as page:
        handle = await page.ask("m1", "Why?")
        bus.reply(await bus.next_turn(), "Because.")

        await page.send(t="resume", turn=handle, have=0)
        final = await page.receive()

    assert (final["t"], final["turn"], final["text"], final["question"]) == (
        "final",
        handle,
        "Because.",
        "Why?",
    )


async def test_reset_tells_the_page_to_drop_the_text(hub: HubProcess, bus: Bus) -> None:
    """A second worker starts the turn again and the page follows."""
    async with open_page(hub) as page:
        await page.ask("m1")
        turn = await bus.next_turn()
        bus.say(turn, "first")
        bus.reset(turn)
        bus.say(turn, "second")

        frames = [await page.receive() for _ in range(3)]

    assert [(frame["t"], frame.get("offset")) for frame in frames] == [
        ("delta", 0),
        ("reset", None),
        ("delta", 0),
    ]


async def test_history_comes_back_with_the_token(hub: HubProcess, bus: Bus) -> None:
    """A page that is loaded again gets what was said, and asks for less if it wants."""
    async with open_page(hub) as page:
        for number in range(3):
            await page.ask(f"m{number}", f"Question {number}")
            bus.reply(await bus.next_turn(), f"Answer {number}", SOURCE)
        token = page.token

    async with open_page(hub, token) as page:
        await page.send(t="history", last=1)
        last = await page.receive()

    assert [turn["answer"] for turn in page.ready["history"]] == ["Answer 0", "Answer 1", "Answer 2"]
    assert [turn["question"] for turn in last["history"]] == ["Question 2"]
    assert last["history"][0]["sources"][0]["title"] == "Telegram"


async def test_two_pages_of_one_visitor_see_the_same(hub: HubProcess, bus: Bus) -> None:
    """A second tab gets the answer too, with the question that only the first one knew."""
    async with open_page(hub) as first, open_page(hub, first.token) as second:
        await first.ask("m1", "Hi")
        await hub.answer(await bus.next_turn(), "Hello!")

        one, two = await first.receive(), await second.receive()

    assert one == two
    assert two["question"] == "Hi"


async def test_visitors_never_see_each_other(hub: HubProcess, bus: Bus) -> None:
    """Neither live text, nor history, nor the turn of another visitor by its handle."""
    async with open_page(hub) as mine, open_page(hub) as other:
        handle = await mine.ask("m1", "My secret")
        turn = await bus.next_turn()
        bus.say(turn, "secret")
        await hub.answer(turn, "secret")
        await other.send(t="history", conversation=mine.ready["conversation"])
        foreign = await other.receive()
        await other.send(t="history")
        own = await other.receive()
        await other.send(t="resume", turn=handle, have=0)
        code = await other.closed()

    assert foreign == {"t": "err", "code": "not_found"}
    assert own == {"t": "history", "history": []}
    assert code == 4403


async def test_hub_that_starts_says_so_and_closes(bus: Bus) -> None:
    """Before the bus is there a page is told to come back."""
    hub = HubProcess(bus)
    await hub.start(ready=False)
    async with open_page(hub, sign_in=False) as page:
        await page.send(t="auth", token="")
        frame = await page.receive()
        code = await page.closed()
    await hub.take_messages()
    async with open_page(hub) as page:
        assert page.ready["t"] == "ready"

    assert frame == {"t": "err", "code": "starting", "retry_ms": 1000}
    assert code == 1013
    await hub.stop()


async def test_hub_that_stops_closes_with_1012(bus: Bus) -> None:
    """Pages learn that the hub restarts and come back spread in time."""
    hub = HubProcess(bus)
    await hub.start()
    async with open_page(hub) as page:
        closing = asyncio.create_task(page.closed())
        await hub.stop()

        assert await closing == 1012


async def test_page_that_does_not_read_is_closed(hub: HubProcess, bus: Bus) -> None:
    """What waits for a slow reader is bounded; it is told to come back and resume."""
    async with open_page(hub) as page:
        await page.ask("m1")
        turn = await bus.next_turn()
        for _ in range(1000):
            bus.say(turn, "x" * 20_000)

        assert await page.closed() == 1013


async def test_page_that_was_too_slow_has_lost_nothing(hub: HubProcess, bus: Bus) -> None:
    """It signs in again, says what it has, and gets the rest."""
    have = ""
    async with open_page(hub) as page:
        handle, token = await page.ask("m1"), page.token
        turn = await bus.next_turn()
        for number in range(200):
            bus.say(turn, f"{number:010000}")
        async with asyncio.timeout(30):
            while (message := await page.socket.receive()).type is WSMsgType.TEXT:
                frame = json.loads(message.data)
                if frame["offset"] == len(have):
                    have += frame["text"]
        assert page.socket.close_code == 1013
    assert len(have) < len(bus.live.texts[turn])

    async with open_page(hub, token) as page:
        await page.send(t="resume", turn=handle, have=len(have), crc=zlib.crc32(have.encode()))
        rest = await page.receive()

    assert have + rest["text"] == bus.live.texts[turn]


async def test_process_forgets_a_page_that_left(hub: HubProcess, bus: Bus) -> None:
    """A closed page leaves no listener behind."""
    async with open_page(hub) as page:
        conversation = page.ready["conversation"]
        assert len(bus.live.listeners[conversation]) == 1
    async with asyncio.timeout(30):
        await bus.live.left.wait()

    assert not bus.live.listeners[conversation]


async def test_frames_carry_text_as_it_is(hub: HubProcess, bus: Bus) -> None:
    """JSON escapes neither emoji nor markup: what the engine said is what arrives."""
    text = '</script><b>"👍🏽"\\ \u2028'
    async with open_page(hub) as page:
        await page.ask("m1")
        await hub.answer(await bus.next_turn(), text)

        assert json.loads(json.dumps(await page.receive()))["text"] == text


async def test_a_page_is_told_how_long_others_come_first(hub: HubProcess, bus: Bus) -> None:
    """By estimate, and as often as it changes."""
    async with open_page(hub) as page:
        handle = await page.ask("m1")
        turn = await bus.next_turn()
        for wait_s in (12.34, 5):
            bus.wait(turn, wait_s)

        waits = [await page.receive() for _ in range(2)]

    assert waits == [{"t": "waiting", "turn": handle, "wait_s": wait_s} for wait_s in (12.3, 5)]
