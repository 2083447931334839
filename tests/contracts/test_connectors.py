"""What every connector promises."""

import asyncio
from collections.abc import AsyncIterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from connectors.parts import GROUP
from hub.app import CONNECTORS, roles_of
from hub.bus.bus import outbound
from hub.bus.keys import Keys
from hub.errors import BusError, BusFull, DeliveryRefused, RetryLater
from hub.settings import Settings
from tests.contracts.channels import CHANNELS, Channel

FAR_ENDS = [name for name, row in CHANNELS.items() if row.has_far_end]
READERS = [name for name, row in CHANNELS.items() if not row.has_far_end]
KNOWING = [name for name, row in CHANNELS.items() if row.tells_who_is_gone]


class Recorded:
    """Progress of one reply, and how much had arrived at each step."""

    def __init__(self, channel: Channel, placed: dict[int, str] | None = None) -> None:
        self.placed_parts = placed or {}
        self.unclear_part: int | None = None
        self.replaced_parts: dict[int, str] = {}
        self.steps: list[tuple[str, int, int]] = []
        self._channel = channel

    async def begin(self, part: int) -> None:
        """Note a request that leaves."""
        self.steps.append(("begin", part, await self._channel.delivered()))

    async def placed(self, part: int, remote_id: str) -> None:
        """Note a request that was confirmed."""
        assert remote_id
        self.placed_parts[part] = remote_id
        self.steps.append(("placed", part, await self._channel.delivered()))


@pytest.fixture(params=CHANNELS)
async def channel(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Channel]:
    """Open each channel in turn."""
    opened = CHANNELS[request.param]()
    async with opened.opened:
        await opened.open(tmp_path)
        yield opened


def only(names: list[str]) -> pytest.MarkDecorator:
    """Try these channels alone."""
    return pytest.mark.parametrize("channel", names, indirect=True)


def test_every_connector_has_a_row_here() -> None:
    """A new connector is held to the contract like the others."""
    offered = {point.name for point in entry_points(group=GROUP)}
    assert set(CHANNELS) == {*CONNECTORS, *offered}


@pytest.mark.parametrize("name", CONNECTORS)
def test_settings_table_and_role_carry_the_name(name: str) -> None:
    """`[telegram]` in settings.toml, `hubbub up --role telegram`."""
    assert name in Settings.model_fields
    assert name in roles_of(Settings())


async def test_name_is_the_same_word_everywhere(channel: Channel, request: pytest.FixtureRequest) -> None:
    """In the class, its module, its stream, and the address of what it takes in."""
    name = request.node.callspec.params["channel"]
    async with channel.running():
        assert await channel.offer()

    [message] = await channel.messages()
    assert channel.connector.name == name
    assert type(channel.connector).__module__.startswith(f"connectors.{name}")
    assert Keys().stream(outbound(channel.connector.name)) == f"hubbub:{{0}}:outbound:{name}"
    assert message.address.connector == name
    assert message.conversation.startswith(f"{name}-")


async def test_run_ends_when_cancelled_and_leaves_no_task(channel: Channel) -> None:
    """After a message went through, nothing of the intake outlives it."""
    async with channel.running():
        assert await channel.offer()  # from here on the far end's own connections stay open
    before = asyncio.all_tasks()
    async with channel.running() as task:
        assert await channel.offer()
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=10)

    assert done
    assert task.cancelled()
    if left := asyncio.all_tasks() - before - {task}:
        _, left = await asyncio.wait(left, timeout=5)
    assert not left


async def test_each_part_is_begun_before_and_placed_after_it(channel: Channel) -> None:
    """What is on record is never ahead of, nor more than one request behind, what has arrived."""
    progress = Recorded(channel)

    await channel.connector.send(channel.reply(), progress)

    assert progress.steps == [
        step for part in range(channel.parts) for step in (("begin", part, part), ("placed", part, part + 1))
    ]


async def test_what_is_placed_is_not_sent_again(channel: Channel) -> None:
    """A sender that takes over sends what is missing, and nothing when nothing is."""
    first, second = Recorded(channel, {0: "there"}), Recorded(channel)
    await channel.connector.send(channel.reply(), first)
    assert await channel.delivered() == channel.parts - 1

    await channel.connector.send(channel.reply(), second)
    second.steps.clear()
    await channel.connector.send(channel.reply(), second)

    assert [part for step, part, _ in first.steps if step == "begin"] == list(range(1, channel.parts))
    assert second.steps == []
    assert await channel.delivered() == 2 * channel.parts - 1


@only(FAR_ENDS)
async def test_far_end_out_of_reach_means_later(channel: Channel) -> None:
    """The reply is kept; nothing is on record as placed, and there is no doubt that nothing was sent."""
    await channel.cut_off()
    progress = Recorded(channel)

    with pytest.raises(RetryLater) as caught:
        await channel.connector.send(channel.reply(), progress)

    assert caught.value.retry_after_s > 0
    assert not caught.value.unclear
    assert not progress.placed_parts


@only(FAR_ENDS)
async def test_a_cancelled_turn_sends_nothing(channel: Channel) -> None:
    """Whoever stopped it does not want to hear of it."""
    cancelled = channel.reply().model_copy(update={"kind": "cancelled", "text": ""})
    progress = Recorded(channel)

    await channel.connector.send(cancelled, progress)

    assert progress.steps == []
    assert await channel.delivered() == 0


@only(READERS)
async def test_nobody_there_to_read_is_no_failure(channel: Channel) -> None:
    """Without a page or a request that waits, the reply stands in the history; there is nothing to repeat."""
    progress = Recorded(channel)

    await channel.connector.send(channel.reply(), progress)

    assert list(progress.placed_parts) == [0]


@only(KNOWING)
async def test_somebody_who_is_gone_is_refused_for_good(channel: Channel) -> None:
    """Repeating cannot help, so the reply is recorded as failed."""
    channel.leave()
    progress = Recorded(channel)

    with pytest.raises(DeliveryRefused):
        await channel.connector.send(channel.reply(), progress)

    assert not progress.placed_parts


@pytest.mark.parametrize("error", [BusFull(0.2), BusError("Redis is away")], ids=["full", "away"])
async def test_message_that_was_not_stored_is_not_confirmed(channel: Channel, error: BusError) -> None:
    """The far end keeps it and offers it again; it is taken once the bus is back."""
    async with channel.running():
        await channel.fail(error)
        assert not await channel.offer()
        assert await channel.messages() == []

        await channel.heal()

        assert await channel.offer()
        assert len(await channel.messages()) == 1
