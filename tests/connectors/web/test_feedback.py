"""What visitors think of an answer."""

import pytest

from tests.connectors.web.edges import Bus, HubProcess
from tests.connectors.web.page import open_page


async def test_judgement_reaches_the_hub(full_hub: HubProcess, bus: Bus) -> None:
    """With turn, conversation and person; it can be changed and taken back."""
    async with open_page(full_hub) as page:
        handle = await page.ask("m1")
        turn = await bus.next_turn()
        for value in ("up", "down", ""):
            await page.send(t="feedback", turn=handle, value=value)
            assert await page.receive() == {"t": "feedback", "turn": handle, "value": value}

    person = bus.messages[turn].address.person
    taken = [bus.judgements.taken.get_nowait() for _ in range(3)]
    assert taken == [(turn, page.ready["conversation"], person, value) for value in ("up", "down", "")]
    assert page.ready["features"]["feedback"] is True


async def test_nobody_judges_for_another(full_hub: HubProcess, bus: Bus) -> None:
    """A handle is worth nothing to another visitor."""
    async with open_page(full_hub) as mine, open_page(full_hub) as other:
        handle = await mine.ask("m1")
        await other.send(t="feedback", turn=handle, value="down")

        assert await other.receive() == {"t": "err", "code": "not_found"}
    assert bus.judgements.taken.empty()


@pytest.mark.parametrize("value", ["UP", "sideways", None, 1, True, ["up"], {"a": 1}], ids=str)
async def test_judgement_that_is_none_is_refused(full_hub: HubProcess, bus: Bus, value: object) -> None:
    """Up, down or nothing."""
    async with open_page(full_hub) as page:
        handle = await page.ask("m1")
        await page.send(t="feedback", turn=handle, value=value)

        assert await page.receive() == {"t": "err", "code": "bad_type"}
    assert bus.judgements.taken.empty()


async def test_hub_that_keeps_no_feedback_asks_for_none(hub: HubProcess) -> None:
    """`ready` says so, and the frame is none of its protocol."""
    async with open_page(hub) as page:
        handle = await page.ask("m1")
        await page.send(t="feedback", turn=handle, value="up")

        assert page.ready["features"]["feedback"] is False
        assert await page.receive() == {"t": "err", "code": "unknown_type"}
