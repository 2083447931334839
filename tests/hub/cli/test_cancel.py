"""An operator stops what a conversation waits for."""

import asyncio
import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from hub.bus.bus import Bus
from hub.cli.cancel import cancel_turns
from hub.errors import SettingsError
from hub.messages import Address, InboundMessage
from hub.settings import BusSettings, Settings
from tests.servers.redis import RedisServer


def test_turns_that_wait_are_cancelled_by_name(
    redis_server: RedisServer, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One or all; what is not there is said to be not there."""
    settings = Settings(data=data, bus=BusSettings(redis_url=SecretStr(redis_server.url)))
    first, second = asyncio.run(_publish(settings, "one", "two"))

    cancel_turns(settings, "cli-cancel", first, as_json=True)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["cancelled"] == [first]
    cancel_turns(settings, "cli-cancel", "", as_json=False)
    assert capsys.readouterr().out.endswith(f"Cancelled: {first}, {second}\n")
    cancel_turns(settings, "cli-nobody", "", as_json=False)
    assert capsys.readouterr().out.endswith("There was nothing to cancel.\n")


def test_without_a_hub_there_is_nothing_to_talk_to(data: Path) -> None:
    """The error says how to start one."""
    with pytest.raises(SettingsError, match="hubbub up"):
        cancel_turns(Settings(data=data), "c", "", as_json=False)


async def _publish(settings: Settings, *texts: str) -> list[str]:
    bus = Bus(settings.bus.redis_url.get_secret_value(), settings.bus)
    await bus.redis.flushall()
    address = Address(connector="test", account="a", chat="c", person="p")
    messages = [
        InboundMessage(external_key=text, conversation="cli-cancel", address=address, text=text)
        for text in texts
    ]
    entries = [(await bus.publish(message)).entry for message in messages]
    await bus.close()
    return entries
