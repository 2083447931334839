"""The operator reads what is wrong with the webhook, and what to do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiogram.types import User, WebhookInfo
from pydantic import SecretStr

from connectors.telegram.diagnosis import diagnose
from connectors.telegram.webhook import PATH
from hub.cli import doctor
from hub.settings import ApiSettings, Settings, TelegramSettings
from tests.emulators.bot_api import BotApi

HUB = "https://hub.example.org"
BOT = User(id=1, is_bot=True, first_name="Hub", username="hub_bot", can_read_all_group_messages=False)


def _info(url: str = HUB + PATH, *, waiting: int = 0, error: str = "", age_s: float = 60) -> WebhookInfo:
    fields: dict[str, Any] = {"url": url, "has_custom_certificate": False, "pending_update_count": waiting}
    if error:
        at = datetime.now(UTC) - timedelta(seconds=age_s)
        fields |= {"last_error_date": at, "last_error_message": error}
    return WebhookInfo(**fields)


@pytest.mark.parametrize(
    ("hook", "public_url", "words"),
    [
        (_info(), HUB + "/", ["webhook https://hub.example.org", "0 updates wait", "commands, mentions"]),
        (_info(""), "", ["@hub_bot by long polling"]),
        (_info(error="Connection refused", age_s=7200), HUB, ["Connection refused"]),
    ],
)
def test_what_is_well_is_told_as_such(hook: WebhookInfo, public_url: str, words: list[str]) -> None:
    """Address, how many wait, and what the bot sees in groups."""
    found = diagnose(BOT, hook, public_url=public_url)

    assert found.is_well
    assert not found.advice
    assert all(word in found.text for word in words)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("Failed to resolve host: Name or service not known", "DNS"),
        ("SSL error {error:0A000086:SSL routines::certificate verify failed}", "certificate"),
        ("Connection refused", "Nothing answers"),
        ("Connection timed out", "firewall"),
        ("Wrong response from the webhook: 401 Unauthorized", "secret"),
        ("Wrong response from the webhook: 404 Not Found", "proxy"),
        ("Wrong response from the webhook: 502 Bad Gateway", "hub behind it"),
        ("Wrong response from the webhook: 500 Internal Server Error", "log"),
        ("Something new", "api.public_url"),
    ],
)
def test_each_failure_has_its_advice(error: str, advice: str) -> None:
    """Telegram's own words are quoted, and put into the operator's."""
    found = diagnose(BOT, _info(waiting=7, error=error), public_url=HUB)

    assert not found.is_well
    assert "7 updates wait" in found.text
    assert error in found.text
    assert "1 min ago" in found.text
    assert advice in found.advice


@pytest.mark.parametrize(
    ("url", "public_url", "advice"),
    [
        ("", HUB, "polling meanwhile"),
        ("https://other.example.org/hook", HUB, "Another program with this token"),
        ("https://other.example.org/hook", "", "the hub removes it"),
    ],
)
def test_a_webhook_in_the_wrong_place_is_explained(url: str, public_url: str, advice: str) -> None:
    """Who has set it, and what the hub does about it."""
    found = diagnose(BOT, _info(url), public_url=public_url)

    assert not found.is_well
    assert advice in found.advice


async def test_the_doctor_asks_telegram(telegram: BotApi) -> None:
    """With the settings of the hub."""
    token = TelegramSettings(token=SecretStr(telegram.token), api_base=telegram.url)
    settings = Settings(_env_file=None, telegram=token, api=ApiSettings(public_url=HUB))

    [found] = await doctor.CHECKS["telegram"](settings)

    assert (found.state, found.part) == ("warn", "telegram")
    assert "is not set" in found.advice
