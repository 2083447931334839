"""Long polling: an update is confirmed to Telegram only once it is stored, and start survives every fault."""

import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from connectors.telegram import intake
from connectors.telegram.events import Event, Me
from connectors.telegram.updates import read
from hub.errors import BusFull
from tests.connectors.telegram.harness import CHAT, MemoryProgress, edge, reply
from tests.emulators.bot_api import BotApi


async def test_updates_arrive_in_order_without_a_public_address(telegram: BotApi) -> None:
    """A webhook left over from earlier is removed, and the updates that waited are kept."""
    for number in range(150):
        telegram.say(CHAT, f"m{number}")
    async with edge(telegram, polling=True) as hub:
        texts = await hub.received(150)

    assert texts == [f"m{number}" for number in range(150)]
    assert telegram.called("deleteWebhook") == [{"drop_pending_updates": False}]
    assert not telegram.called("setWebhook")
    assert hub.connector.routes() == []


@pytest.mark.parametrize("polling", [True, False])
@pytest.mark.parametrize("hours", [1, 23, 30])
async def test_what_was_written_while_the_hub_was_down_is_answered(
    telegram: BotApi, polling: bool, hours: int
) -> None:
    """Telegram keeps updates for a day; however late one comes, a person waits for its answer."""
    telegram.say(CHAT, "anybody there?", date=int(time.time()) - hours * 3600)
    async with edge(telegram, polling=polling) as hub:
        assert await hub.received(1) == ["anybody there?"]
        await hub.connector.send(reply("Yes."), MemoryProgress())
        await telegram.until(lambda: not telegram.pending)

    assert telegram.answers(CHAT) == ["Yes."]
    assert all(not call.get("drop_pending_updates") for call in telegram.called("setWebhook"))


async def test_an_update_that_breaks_the_reading_is_put_aside(
    telegram: BotApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of our own on one update must not have it delivered for ever, before all others."""

    def broken(data: dict[str, Any], me: Me, *, stream: bool) -> Event:
        if data["message"]["text"] == "odd":
            raise KeyError("chat")
        return read(data, me, stream=stream)

    monkeypatch.setattr(intake, "read", broken)
    telegram.say(CHAT, "odd")
    telegram.say(CHAT, "after")
    async with edge(telegram, polling=True) as hub:
        assert await hub.received(1) == ["after"]

    ((source, reason, _),) = hub.quarantined
    assert (source, reason) == ("telegram", "reading failed: KeyError")


async def test_update_is_confirmed_only_when_it_is_stored(telegram: BotApi) -> None:
    """While the bus is full the offset stays; afterwards everything is there once."""
    async with edge(telegram, polling=True) as hub:
        hub.bus.failure = BusFull(0.05)
        telegram.say(CHAT, "one")
        telegram.say(CHAT, "two")
        with capture_logs() as logs:
            await telegram.until(lambda: [e for e in logs if e["event"] == "update_not_published"])
        assert len(telegram.pending) == 2

        hub.bus.failure = None
        assert await hub.received(2) == ["one", "two"]
        await telegram.until(lambda: not telegram.pending)


async def test_odd_update_does_not_hold_up_the_others(telegram: BotApi) -> None:
    """What cannot be read is put aside, and polling goes on."""
    telegram.push(message={"message_id": "x", "chat": None})
    telegram.say(CHAT, "after")
    async with edge(telegram, polling=True) as hub:
        assert await hub.received(1) == ["after"]
        await telegram.until(lambda: not telegram.pending)

    assert len(hub.quarantined) == 1


async def test_start_survives_an_absent_telegram(telegram: BotApi) -> None:
    """Each failing call is logged and repeated; then messages flow."""
    telegram.fail("getMe", 502)
    telegram.fail("deleteWebhook", reset="before")
    telegram.fail("getUpdates", 500)
    telegram.say(CHAT, "hello")
    with capture_logs() as logs:
        async with edge(telegram, polling=True) as hub:
            assert await hub.received(1) == ["hello"]

    failed = [entry["call"] for entry in logs if entry["event"] == "telegram_call_failed"]
    assert failed == ["getMe", "deleteWebhook", "getUpdates"]


async def test_wrong_token_is_a_clear_log_and_no_crash(telegram: BotApi) -> None:
    """The operator reads what is wrong; the hub goes on."""
    with capture_logs() as logs:
        async with edge(telegram, polling=True, token="123456:wrong") as hub:
            await telegram.until(lambda: [e for e in logs if e["event"] == "telegram_token_refused"])

            assert not hub.running.done()
