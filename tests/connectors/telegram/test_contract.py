"""The Telegram connector is a Connector, and live text of the bus is what it listens to."""

import asyncio

from aiogram.client.session.aiohttp import AiohttpSession

from connectors.base import Connector
from connectors.live import Live
from connectors.telegram.events import Place
from connectors.telegram.notices import Notices
from connectors.telegram.parts import Part
from connectors.telegram.phrases import WORDS
from hub.live import Live as BusLive
from tests.connectors.telegram.harness import CHAT, MemoryProgress, edge, reply
from tests.emulators.bot_api import BotApi


def _as_live(live: BusLive) -> Live:
    return live


async def test_telegram_is_a_connector(telegram: BotApi) -> None:
    """Its name is the one of its settings table; the type checker compares the rest."""
    async with edge(telegram) as hub:
        connector: Connector = hub.connector

        assert connector.name == "telegram"


async def test_ending_leaves_nothing_running(telegram: BotApi) -> None:
    """Displays and notices end with the intake."""
    async with edge(telegram) as hub:
        telegram.fail("sendMessage", 200, delay_s=30)
        telegram.say(CHAT, "question")
        await hub.received(1)
        hub.bus.lane_full = True
        telegram.say(CHAT, "one too many")
        await telegram.until(lambda: telegram.called("sendMessage"))
        hub.running.cancel()
        await telegram.until(hub.running.done)

        assert not hub.connector._bot.display._screens
        assert not hub.connector._bot.notices._under_way


async def test_notice_that_failed_is_sent_again(telegram: BotApi) -> None:
    """It is all the answer there will be, so it arrives, and once."""
    telegram.chat(CHAT)
    async with edge(telegram) as hub:
        notices: Notices = hub.connector._bot.notices
        place = Place(chat=CHAT, topic=None, private=True)
        telegram.fail("sendMessage", 500)
        for _ in range(4):
            notices.tell(place, Part("word", []), about="word", every_s=60, reply_to=1)
        await telegram.until(lambda: not notices._under_way)

    assert telegram.answers(CHAT) == ["word"]
    assert len(telegram.called("sendMessage")) == 2


async def test_notices_on_their_way_arrive_when_the_intake_ends(telegram: BotApi) -> None:
    """The update is confirmed already: nobody would tell the person after a restart."""
    async with edge(telegram) as hub:
        telegram.fail("sendMessage", 200, delay_s=0.3)
        hub.bus.lane_full = True
        telegram.say(CHAT, "one too many")
        await telegram.until(lambda: telegram.called("sendMessage"))
        hub.running.cancel()
        await telegram.until(hub.running.done)

    assert telegram.answers(CHAT) == [WORDS["en"].please_wait]


async def test_replies_in_flight_outlive_the_intake(telegram: BotApi) -> None:
    """While the hub drains a reply is still sent; with the last one the connections are closed."""
    telegram.chat(CHAT)
    async with edge(telegram) as hub:
        telegram.fail("sendMessage", 200, delay_s=0.3)
        sending = asyncio.create_task(hub.connector.send(reply("last"), MemoryProgress()))
        await telegram.until(lambda: telegram.called("sendMessage"))
        hub.running.cancel()
        await telegram.until(hub.running.done)
        assert not sending.done()

        await sending

        session = hub.connector._client._bot.session
        assert isinstance(session, AiohttpSession)
        assert session._session is not None
        assert session._session.closed
    assert telegram.answers(CHAT) == ["last"]
