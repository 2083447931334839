"""Edited messages: the turn of the earlier text is undone, and its answer is replaced where it stands."""

import pytest

from engine.turn import Answer, Recollection, TextSink
from hub.bus.queue import Lease
from hub.errors import TurnCancelled
from hub.messages import InboundMessage
from tests.engine.bench import Bench, echo, said


async def _learn(message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
    name = message.text.removeprefix("My name is ").removesuffix(".")
    return said("noted", facts={"name": f"The user's name is {name}."})


async def test_an_edit_takes_the_place_of_its_turn(bench: Bench) -> None:
    """In the history, between what came before and after, and at the person's."""
    await bench.answered("one", origin="1")
    await bench.answered("two", origin="2")
    await bench.answered("three", origin="3")
    await bench.answered("TWO", origin="2", replaces="2")

    assert [turn.question for turn in await bench.bus.history.turns("c")] == ["one", "TWO", "three"]
    replies = await bench.replies()
    assert [reply.replaces for reply in replies] == ["", "", "", replies[1].turn]


async def test_an_edit_of_an_edit_replaces_the_latter(bench: Bench) -> None:
    """Each step back is one turn."""
    await bench.answered("a", origin="1")
    await bench.answered("b", origin="1", replaces="1")
    await bench.answered("c", origin="1", replaces="1")

    replies = await bench.replies()
    assert [reply.replaces for reply in replies] == ["", replies[0].turn, replies[1].turn]
    assert [turn.question for turn in await bench.bus.history.turns("c")] == ["c"]


async def test_an_edit_of_what_is_unknown_is_a_message_of_its_own(bench: Bench) -> None:
    """Its original came before the hub, or is forgotten."""
    await bench.answered("hello again", origin="7", replaces="7")

    [reply] = await bench.replies()
    assert (reply.text, reply.replaces) == ("hello again", "")


async def test_what_was_told_in_the_earlier_text_alone_is_forgotten(bench: Bench) -> None:
    """What the new text tells counts; what was told again since stays."""
    seen: list[dict[str, str]] = []

    async def look(message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        seen.append(dict(recollection.facts))
        return said("seen")

    await bench.answered("My name is Maria.", _learn, origin="1")
    await bench.answered("Never mind.", look, origin="1", replaces="1")

    assert seen == [{}]
    assert await bench.bus.history.facts("c") == {}


async def test_what_was_told_again_since_stays(bench: Bench) -> None:
    """It does not rest on the edited text any more."""
    await bench.answered("My name is Maria.", _learn, origin="1")
    await bench.answered("My name is Ana.", _learn, origin="2")
    await bench.answered("Never mind.", echo, origin="1", replaces="1")

    assert await bench.bus.history.facts("c") == {"name": "The user's name is Ana."}


async def test_what_waits_to_be_answered_is_cancelled_by_its_edit(bench: Bench) -> None:
    """Its commit is refused, it ends as cancelled, and the edit is answered as the only one."""
    first = await bench.entered("What is on?", origin="1")
    commit = await bench.worker().handle(first)
    await bench.published("What is on today?", origin="1", replaces="1")

    with pytest.raises(TurnCancelled):
        await bench.queue.commit(first, "me", commit)
    following = await bench.queue.commit(first, "me", await bench.worker().handle(first))
    assert isinstance(following, Lease)
    await bench.queue.commit(following, "me", await bench.worker().handle(following))

    replies = await bench.replies()
    assert [(reply.kind, reply.text, reply.replaces) for reply in replies] == [
        ("cancelled", "", ""),
        ("answer", "What is on today?", ""),
    ]
    assert [turn.question for turn in await bench.bus.history.turns("c")] == ["What is on today?"]


async def test_an_edit_that_comes_in_time_leaves_the_answer_before_it_to_be_replaced(bench: Bench) -> None:
    """The first text was answered, the second never: the third takes the place of the first."""
    await bench.answered("a", origin="1")
    second = await bench.entered("b", origin="1", replaces="1")
    await bench.published("c", origin="1", replaces="1")
    third = await bench.queue.commit(second, "me", await bench.worker().handle(second))
    assert isinstance(third, Lease)
    await bench.queue.commit(third, "me", await bench.worker().handle(third))

    replies = await bench.replies()
    assert [(reply.kind, reply.replaces) for reply in replies] == [
        ("answer", ""),
        ("cancelled", ""),
        ("answer", replies[0].turn),
    ]


async def test_a_repeated_edit_is_one(bench: Bench) -> None:
    """Delivered twice, it is accepted once, and replaces the same."""
    await bench.answered("a", origin="1")
    first = await bench.published("b", origin="1", replaces="1")
    again = await bench.published("b", origin="1", replaces="1")

    assert first == again
    assert await bench.queue.replaced_by("c", "1", first) == [(await bench.replies())[0].turn]
