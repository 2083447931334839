"""API keys from the terminal."""

import json
from pathlib import Path

import pytest

from hub.cli.keys import create_key, list_keys, revoke_key
from hub.errors import HubError
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
