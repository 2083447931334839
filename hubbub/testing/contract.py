"""What every connector promises, as tests of classes that name a channel."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar

import pytest
import pytest_asyncio

from hub.errors import BusError, BusFull, DeliveryRefused, RetryLater
from hubbub.testing.channel import Channel, Recorded


@pytest.mark.asyncio
class ConnectorContract:
    """What holds for all of them."""

    channel_type: ClassVar[type[Channel]]
    """The channel that is tried."""

    @pytest_asyncio.fixture
    async def channel(self, tmp_path: Path) -> AsyncIterator[Channel]:
        """Open a channel for one test."""
        opened = self.channel_type()
        async with opened.opened:
            await opened.open(tmp_path)
            yield opened

    async def test_the_name_is_the_same_word_everywhere(self, channel: Channel) -> None:
        """In the class, and in the address and the conversation of what it takes in."""
        async with channel.running():
            assert await channel.offer()

        [message] = await channel.messages()
        assert message.address.connector == channel.connector.name
        assert message.conversation.startswith(f"{channel.connector.name}-")

    async def test_run_ends_when_cancelled_and_leaves_no_task(self, channel: Channel) -> None:
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

    async def test_the_same_message_again_is_the_same_message(self, channel: Channel) -> None:
        """Whoever offers it twice has it stored once."""
        async with channel.running():
            assert await channel.offer()
            assert await channel.offer()

        assert len(await channel.messages()) == 1

    async def test_each_part_is_begun_before_and_placed_after_it(self, channel: Channel) -> None:
        """What is on record is never ahead of, nor more than one request behind, what has arrived."""
        progress = Recorded(channel)

        await channel.connector.send(channel.reply(), progress)

        assert progress.steps == [
            step
            for part in range(channel.parts)
            for step in (("begin", part, part), ("placed", part, part + 1))
        ]

    async def test_what_is_placed_is_not_sent_again(self, channel: Channel) -> None:
        """A sender that takes over sends what is missing, and nothing when nothing is."""
        first, second = Recorded(channel, {0: "there"}), Recorded(channel)
        await channel.connector.send(channel.reply(), first)
        assert await channel.delivered() == channel.parts - 1

        await channel.connector.send(channel.reply(), second)
        arrived = await channel.delivered()
        second.steps.clear()
        await channel.connector.send(channel.reply(), second)

        assert [part for step, part, _ in first.steps if step == "begin"] == list(range(1, channel.parts))
        assert second.steps == []
        assert await channel.delivered() == arrived

    @pytest.mark.parametrize("error", [BusFull(0.2), BusError("Redis is away")], ids=["full", "away"])
    async def test_a_message_that_was_not_stored_is_not_confirmed(
        self, channel: Channel, error: BusError
    ) -> None:
        """The far end keeps it and offers it again; it is taken once the bus is back."""
        async with channel.running():
            await channel.fail(error)
            assert not await channel.offer()
            assert await channel.messages() == []

            await channel.heal()

            assert await channel.offer()
            assert len(await channel.messages()) == 1


class FarEndContract(ConnectorContract):
    """What holds besides where `send` talks to a server that answers."""

    async def test_a_far_end_out_of_reach_means_later(self, channel: Channel) -> None:
        """The reply is kept; nothing is on record as placed, and there is no doubt that nothing was sent."""
        await channel.cut_off()
        progress = Recorded(channel)

        with pytest.raises(RetryLater) as caught:
            await channel.connector.send(channel.reply(), progress)

        assert caught.value.retry_after_s > 0
        assert not caught.value.unclear
        assert not progress.placed_parts

    async def test_a_cancelled_turn_sends_nothing(self, channel: Channel) -> None:
        """Whoever stopped it does not want to hear of it."""
        cancelled = channel.reply().model_copy(update={"kind": "cancelled", "text": ""})
        progress = Recorded(channel)

        await channel.connector.send(cancelled, progress)

        assert progress.steps == []
        assert await channel.delivered() == 0

    async def test_somebody_who_is_gone_is_refused_for_good(self, channel: Channel) -> None:
        """Repeating cannot help, so the reply is recorded as failed."""
        channel.leave()
        progress = Recorded(channel)

        with pytest.raises(DeliveryRefused):
            await channel.connector.send(channel.reply(), progress)

        assert not progress.placed_parts


class ReaderContract(ConnectorContract):
    """What holds besides where a reply is left where its reader comes for it."""

    async def test_nobody_there_to_read_is_no_failure(self, channel: Channel) -> None:
        """The reply stands in the history; there is nothing to repeat."""
        progress = Recorded(channel)

        await channel.connector.send(channel.reply(), progress)

        assert list(progress.placed_parts) == [0]
