"""Pages that stop what they have asked."""

from tests.connectors.web.edges import Bus, HubProcess
from tests.connectors.web.page import open_page


async def test_a_page_stops_the_turn_it_names(hub: HubProcess, bus: Bus) -> None:
    """The hub says at once which one it was; the final comes when an engine has got to it."""
    async with open_page(hub) as page:
        handle = await page.ask("m1")
        turn = await bus.next_turn()
        bus.say(turn, "half")
        await page.receive()
        await page.send(t="stop", turn=handle)
        assert await page.receive() == {"t": "stopped", "turns": [handle]}
        assert bus.cancelled == [turn]
        await hub.stopped(turn)
        dropped, final = await page.receive(), await page.receive()

    assert dropped == {"t": "reset", "turn": handle}
    assert (final["t"], final["turn"], final["kind"], final["text"]) == ("final", handle, "cancelled", "")


async def test_a_page_stops_all_that_it_waits_for(hub: HubProcess, bus: Bus) -> None:
    """Without a turn; what has ended already stays as it is."""
    async with open_page(hub) as page:
        handles = [await page.ask(f"m{number}") for number in range(3)]
        first, *others = [await bus.next_turn() for _ in range(3)]
        await hub.answer(first, "done")
        await page.receive()

        await page.send(t="stop")

        assert await page.receive() == {"t": "stopped", "turns": handles[1:]}
        assert bus.cancelled == others


async def test_nobody_stops_a_stranger(hub: HubProcess, bus: Bus) -> None:
    """A handle is worth nothing to another visitor, and no name for a turn is nobody's."""
    async with open_page(hub) as page, open_page(hub) as stranger:
        handle = await page.ask("m1")

        answers = []
        for turn in (handle, "made up", 7):
            await stranger.send(t="stop", turn=turn)
            answers.append((await stranger.receive())["code"])
        await stranger.send(t="stop")

        assert answers == ["not_found", "not_found", "bad_type"]
        assert await stranger.receive() == {"t": "stopped", "turns": []}
        assert bus.cancelled == []


async def test_a_page_that_was_away_learns_that_its_turn_was_cancelled(hub: HubProcess, bus: Bus) -> None:
    """Else it would wait for ever: neither the history nor the live text knows of it."""
    async with open_page(hub) as page:
        handle = await page.ask("m1")
        await bus.cancel(bus.messages[await bus.next_turn()].conversation)

    async with open_page(hub, page.token) as page:
        await page.send(t="resume", turn=handle, have=4)
        final = await page.receive()

    assert (final["t"], final["turn"], final["kind"], final["text"]) == ("final", handle, "cancelled", "")
