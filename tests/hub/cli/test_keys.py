"""API keys from the terminal."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert

from hub.cli.keys import create_key, list_keys, read_overlap, revoke_key, rotate_key, show_usage
from hub.database import sync_engine
from hub.errors import HubError
from hub.key_tables import KeyUsageRow
from hub.messages import utc_now
from hub.settings import Settings


def test_the_list_names_keys_as_revoke_wants_them(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids are whole in a narrow terminal, and a revoked key says so."""
    monkeypatch.setenv("COLUMNS", "60")
    settings = Settings(data=data)
    create_key(settings, tier="own", label="a label of several words", days=90, as_json=True)
    secret = json.loads(capsys.readouterr().out.splitlines()[-1])["api_key"]

    list_keys(settings, as_json=True)
    [key] = json.loads(capsys.readouterr().out.splitlines()[-1])
    revoke_key(settings, key["id"])
    list_keys(settings, as_json=False)

    shown = capsys.readouterr().out
    assert key["id"] in shown.split("revoked.")[1]
    assert secret.removeprefix(f"cc_live_{key['id']}_") not in shown
    with pytest.raises(HubError, match="there is no key"):
        revoke_key(settings, key["id"])


def test_a_key_may_be_allowed_more(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scopes are given by name, seen in the list, and a slip of the pen makes no key."""
    settings = Settings(data=data)
    create_key(settings, tier="own", label="", days=None, scopes=["models"], as_json=True)
    with pytest.raises(HubError, match="scopes are models"):
        create_key(settings, tier="own", label="", days=None, scopes=["model"], as_json=True)
    capsys.readouterr()

    list_keys(settings, as_json=True)

    [key] = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert key["scopes"] == ["models"]


def test_a_key_is_rotated(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The new secret is shown once, with the time until which the old one works; what is no span changes nothing."""
    settings = Settings(data=data)
    networks = ["10.0.0.0/8"]
    create_key(settings, tier="own", label="", days=None, networks=networks, as_json=True)
    first = json.loads(capsys.readouterr().out.splitlines()[-1])

    rotate_key(settings, first["id"], overlap="24h", as_json=True)

    second = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert second["id"] == first["id"]
    assert second["api_key"] != first["api_key"]
    assert second["old_secret_until"][:4] == str(utc_now().year)
    list_keys(settings, as_json=False)
    assert "valid" in capsys.readouterr().out
    with pytest.raises(HubError, match="there is no key"):
        rotate_key(settings, "0" * 12, overlap="0", as_json=True)
    with pytest.raises(HubError, match="network"):
        create_key(settings, tier="own", label="", days=None, networks=["10.0.0.1/8"], as_json=True)
    assert [read_overlap(text) for text in ("0", "30m", "7d")] == [
        *(timedelta(0), timedelta(minutes=30)),
        timedelta(days=7),
    ]
    for wrong in ("24", "h", "-1h", "31d", "1w", "1.5h", ""):
        with pytest.raises(HubError, match=r"span of time|at most"):
            read_overlap(wrong)


def test_usage_is_told_by_day_and_model(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the days that are asked for; a key there is not is told."""
    settings = Settings(data=data)
    create_key(settings, tier="own", label="", days=None, as_json=True)
    key = json.loads(capsys.readouterr().out.splitlines()[-1])["id"]
    engine = sync_engine(f"sqlite:///{data / 'hubbub.db'}")
    today = utc_now().date()
    with engine.begin() as connection:
        for day, model in ((today, "m"), (today - timedelta(days=9), "m"), (today, "")):
            numbers = {"requests": 2, "prompt_tokens": 30, "answer_tokens": 4}
            row = {"key_id": key, "day": day.isoformat(), "model": model, **numbers}
            connection.execute(insert(KeyUsageRow).values(row))
    engine.dispose()

    show_usage(settings, key, days=2, as_json=True)
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    show_usage(settings, key, days=30, as_json=False)

    assert [(one["model"], one["requests"], one["prompt_tokens"]) for one in found] == [
        ("", 2, 30),
        ("m", 2, 30),
    ]
    assert str(today - timedelta(days=9)) in capsys.readouterr().out
    with pytest.raises(HubError, match="there is no key"):
        show_usage(settings, "0" * 12, days=1, as_json=True)
