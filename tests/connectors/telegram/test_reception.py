"""Updates keep coming whatever becomes of the webhook; none is dropped."""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from connectors.telegram import lease, polling, reception
from connectors.telegram.lease import PollerLease
from connectors.telegram.reception import WebhookCare
from connectors.telegram.webhook import PATH
from hubbub.testing import MemoryStore
from tests.connectors.telegram.harness import CHAT, Edge, edge
from tests.emulators.bot_api import BotApi


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "CHECK_S", 0.05)
    monkeypatch.setattr(reception, "SUSPECT_CHECK_S", 0.05)
    monkeypatch.setattr(lease, "RENEW_S", 0.05)


def _events(logs: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    return [entry for entry in logs if entry["event"] == name]


async def test_a_webhook_that_was_taken_away_is_set_again(telegram: BotApi) -> None:
    """Another program with the same token, even for a moment, must not silence the hub until it is restarted."""
    with capture_logs() as logs:
        async with edge(telegram) as hub:
            await telegram.until(lambda: telegram.called("getWebhookInfo"))
            telegram.webhook = None
            await telegram.until(lambda: telegram.webhook)
            telegram.say(CHAT, "still there?")

            assert await hub.received(1) == ["still there?"]

    assert len(_events(logs, "webhook_taken_away")) == 1
    assert not any(call.get("drop_pending_updates") for call in telegram.called("setWebhook"))


@pytest.mark.parametrize("change", ["url", "updates", "connections"])
async def test_a_webhook_that_was_changed_is_repaired(telegram: BotApi, change: str) -> None:
    """Each of what Telegram tells about it."""
    async with edge(telegram) as hub:
        await telegram.until(lambda: telegram.called("getWebhookInfo"))
        assert telegram.webhook
        if change == "url":
            telegram.webhook.url = "https://other.example.org/hook"
        elif change == "updates":
            telegram.allowed_updates = ["message"]
        else:
            telegram.webhook.max_connections = 1
        await telegram.until(lambda: len(telegram.called("setWebhook")) == 2)

        assert telegram.webhook.url == f"{hub.url}{PATH}"
        assert telegram.allowed_updates == polling.ALLOWED_UPDATES
        assert telegram.webhook.max_connections == reception.MAX_CONNECTIONS


async def test_a_webhook_with_a_foreign_secret_is_repaired(telegram: BotApi) -> None:
    """Telegram tells no secret, but it tells that the hub said 401."""
    async with edge(telegram) as hub:
        await telegram.until(lambda: telegram.called("getWebhookInfo"))
        assert telegram.webhook
        telegram.webhook.secret = "another"
        telegram.say(CHAT, "let me in")

        assert await hub.received(1) == ["let me in"]


async def test_failing_deliveries_are_told_once_each(telegram: BotApi) -> None:
    """What Telegram says of its last failed delivery stands in the log."""
    with capture_logs() as logs:
        async with edge(telegram) as hub:
            telegram.last_error = {
                "last_error_date": 1_700_000_000,
                "last_error_message": "Connection refused",
            }
            await telegram.until(lambda: len(telegram.called("getWebhookInfo")) >= 4)
            assert not hub.running.done()

    assert [entry["reason"] for entry in _events(logs, "webhook_failed")] == ["Connection refused"]


def _cut_off(hub: Edge) -> None:
    """Let Telegram find nobody at the address it was told."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    hub.connector._public_url = f"http://127.0.0.1:{port}"


async def test_a_webhook_that_cannot_be_reached_gives_way_to_polling(
    telegram: BotApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waited is answered, and after a while the webhook is tried again."""
    monkeypatch.setattr(reception, "TAKE_OVER_S", 0.3)
    monkeypatch.setattr(reception, "RETRIAL_S", 0.3)
    monkeypatch.setattr(reception, "TRY_AGAIN_S", 1.0)
    with capture_logs() as logs:
        async with edge(telegram, run=False) as hub:
            _cut_off(hub)
            running = asyncio.create_task(hub.connector.run(hub.bus.publish))
            await telegram.until(lambda: telegram.webhook)
            telegram.say(CHAT, "one")
            telegram.say(CHAT, "two")
            assert await hub.received(2) == ["one", "two"]
            await telegram.until(lambda: not telegram.pending)
            await telegram.until(lambda: len(telegram.called("setWebhook")) == 2)
            telegram.say(CHAT, "three")
            assert await hub.received(3) == ["one", "two", "three"]
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    assert all(call == {"drop_pending_updates": False} for call in telegram.called("deleteWebhook"))
    assert _events(logs, "webhook_out_of_order")


async def test_a_webhook_that_only_stutters_is_kept(
    telegram: BotApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as something comes through, it can be reached."""
    monkeypatch.setattr(reception, "TAKE_OVER_S", 0.3)
    async with edge(telegram) as hub:
        for number in range(12):
            telegram.note_failure(502)
            telegram.say(CHAT, f"m{number}")
            await hub.received(number + 1)
            await asyncio.sleep(0.05)

    assert not telegram.called("getUpdates")


async def test_an_address_that_telegram_refuses_is_no_reason_to_be_deaf(telegram: BotApi) -> None:
    """A wrong public address is told in the log, and updates come by polling."""
    telegram.fail("setWebhook", 400, "Bad Request: bad webhook: Failed to resolve host", times=1)
    telegram.say(CHAT, "hello")
    with capture_logs() as logs:
        async with edge(telegram, wait=False) as hub:
            assert await hub.received(1) == ["hello"]

    assert "resolve host" in str(_events(logs, "webhook_refused")[0]["reason"])


async def test_a_webhook_set_by_others_is_removed_while_polling(telegram: BotApi) -> None:
    """Telegram answers 409 as long as there is one."""
    with capture_logs() as logs:
        async with edge(telegram, polling=True) as hub:
            telegram.fail("getUpdates", 409, "Conflict: can't use getUpdates method while webhook is active")
            telegram.say(CHAT, "hello")
            await telegram.until(lambda: len(telegram.called("deleteWebhook")) == 2)
            telegram.say(CHAT, "again")

            assert await hub.received(2) == ["hello", "again"]
    assert _events(logs, "polling_conflict")


async def test_another_poller_makes_this_one_wait(telegram: BotApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer each time, and never by removing anything."""
    waits: list[float] = []
    sleep = asyncio.sleep

    async def short(delay: float) -> None:
        waits.append(delay)
        await sleep(min(delay, 0.01))

    async with edge(telegram, polling=True) as hub:
        monkeypatch.setattr(asyncio, "sleep", short)
        telegram.fail("getUpdates", 409, "Conflict: terminated by other getUpdates request", times=4)
        telegram.say(CHAT, "hello")
        assert await hub.received(1) == ["hello"]
        await telegram.until(lambda: len(telegram.called("getUpdates")) >= 6)
        monkeypatch.undo()

    assert [wait for wait in waits if wait in (1.0, 2.0, 4.0, 8.0)] == [1.0, 2.0, 4.0, 8.0]
    assert len(telegram.called("deleteWebhook")) == 1


async def test_one_process_polls_at_a_time() -> None:
    """The second waits until the first has ended."""
    store = MemoryStore()
    first, second = PollerLease(1, store, "host-a:1"), PollerLease(1, store, "host-b:1")
    order = []

    async def poll(name: str, one: PollerLease, until: asyncio.Event) -> None:
        async with one.held():
            order.append(name)
            await until.wait()
            order.append(f"{name} ended")

    done = asyncio.Event()
    running = asyncio.create_task(poll("first", first, done))
    while not order:
        await asyncio.sleep(0.01)
    waiting = asyncio.create_task(poll("second", second, done))
    await asyncio.sleep(0.2)
    assert await second.is_elsewhere()
    assert not await first.is_elsewhere()
    assert order == ["first"]
    done.set()
    await asyncio.gather(running, waiting)

    assert order == ["first", "first ended", "second", "second ended"]
    assert not store.values


async def test_a_lease_that_was_lost_is_noticed() -> None:
    """A process that stood still for too long must not go on polling."""
    store = MemoryStore()
    async with asyncio.timeout(10), PollerLease(1, store, "host-a:1").held() as lost:
        store.values["poller:1"] = "host-b:1"
        await lost.wait()

    assert store.values == {"poller:1": "host-b:1"}


async def test_a_lease_of_a_killed_process_is_taken_over_at_once() -> None:
    """A restart after a crash need not wait until it runs out."""
    store = MemoryStore()
    store.values["poller:1"] = f"{socket.gethostname()}:{2**22 + 1}"

    async with asyncio.timeout(1), PollerLease(1, store).held():
        assert store.values["poller:1"] != f"{socket.gethostname()}:{2**22 + 1}"


async def test_the_webhook_is_left_alone_while_another_process_polls(telegram: BotApi) -> None:
    """It was removed on purpose there."""
    store = MemoryStore()
    async with edge(telegram, store=store) as hub:
        await telegram.until(lambda: telegram.called("getWebhookInfo"))
        store.values["poller:123456"] = "another-machine:1"
        telegram.webhook = None
        await telegram.until(lambda: len(telegram.called("getWebhookInfo")) >= 5)
        assert telegram.webhook is None
        del store.values["poller:123456"]

        await telegram.until(lambda: telegram.webhook)
        assert isinstance(hub.connector._reception()._care, WebhookCare)
