"""`hubbub egress`: what is allowed and where connections went, on a screen."""

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from hub.bus.connection import connect
from hub.cli.egress import show_egress, write_ledger
from hub.egress.guard import EgressGuard
from hub.egress.ledger import Place
from hub.settings import BusSettings, Settings, TelegramSettings
from tests.servers.redis import RedisServer


@pytest.fixture
def settings(redis_server: RedisServer, data: Path) -> Settings:
    """A hub with Telegram, on an empty Redis."""

    async def empty() -> None:
        client: Redis = connect(redis_server.url, connections=1)
        await client.flushall()
        await client.aclose()

    asyncio.run(empty())
    return Settings(
        data=data,
        bus=BusSettings(redis_url=SecretStr(redis_server.url)),
        telegram=TelegramSettings(token=SecretStr("1:a")),
    )


def test_the_screen_shows_what_is_allowed_and_what_a_command_left(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hosts are strangers' words, and move nobody's cursor."""
    guard = EgressGuard([], process="ingest")
    guard.ledger.note(Place("api.telegram.org", 443, "telegram"))
    guard.ledger.note(Place("evil\x1b[2J", 80, ""), refused=True)
    write_ledger(settings, guard)

    show_egress(settings, as_json=False)

    shown = capsys.readouterr().out
    assert "api.telegram.org:443" in shown
    assert "model hub alone" in shown
    assert "ingest" in shown
    assert "nothing allowed" in shown
    assert "\x1b" not in shown
    assert not guard.ledger.has_news


def test_a_folder_without_a_hub_shows_what_would_be_allowed(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the first start, too."""
    show_egress(Settings(data=data), as_json=False)

    assert "Nothing has left this machine." in capsys.readouterr().out
