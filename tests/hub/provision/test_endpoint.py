"""Which hub is asked, and with which token: the settings say it, else the variables that other programs read, too."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from hub.egress.derive import rules_of
from hub.errors import ProvisionError
from hub.model_settings import ProvisionSettings
from hub.secret_sources.names import without_own
from hub.settings import Settings
from tests.emulators.model_hub import ModelHub
from tests.hub.provision.fetching import bytes_of, content, fetch, settings_for

FILE = "small-Q4_K_M.gguf"


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


async def test_the_environment_names_the_hub_and_its_token(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model comes from a hub that no setting names."""
    async with ModelHub({FILE: content()}, token="hf_secret") as hub:
        monkeypatch.setenv("HF_ENDPOINT", f"{hub.endpoint}/")
        monkeypatch.setenv("HF_TOKEN", "hf_secret")

        pulled = await fetch(Settings(_env_file=None, data=data))

        assert bytes_of(pulled) == content()


async def test_the_settings_win_and_the_token_of_the_environment_stays_away(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not given for the hub that the settings name."""
    monkeypatch.setenv("HF_ENDPOINT", "http://elsewhere.example")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    async with ModelHub({FILE: content()}) as hub:
        await fetch(settings_for(hub, data))

        assert {shown for _, shown in hub.authorizations} == {""}


def test_a_token_of_the_settings_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever hub it is for."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")

    assert ProvisionSettings(token=SecretStr("own")).hub_token.get_secret_value() == "own"
    assert ProvisionSettings().hub_token.get_secret_value() == "hf_secret"


def test_without_any_it_is_hugging_face(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable is none."""
    monkeypatch.setenv("HF_ENDPOINT", " ")

    assert ProvisionSettings().hub_url == "https://huggingface.co"


def test_the_hub_of_the_environment_may_be_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what fetches models alone, and instead of Hugging Face."""
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")

    allowed = {(rule.host, rule.port, rule.is_scoped) for rule in rules_of(Settings(_env_file=None))}

    assert ("mirror.example", 443, True) in allowed
    assert not any("huggingface" in host for host, _, _ in allowed)


async def test_what_is_no_address_is_told_by_the_name_of_the_variable(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whoever set it knows what to mend."""
    monkeypatch.setenv("HF_ENDPOINT", "mirror.example")

    with pytest.raises(ProvisionError, match="HF_ENDPOINT: an address such as"):
        await fetch(Settings(_env_file=None, data=data))


def test_programs_that_fetch_nothing_are_not_given_the_token() -> None:
    """The processes of models among them."""
    assert without_own({"HF_TOKEN": "hf_secret", "HF_HOME": "/x", "HUBBUB_DATA": "/y"}) == {"HF_HOME": "/x"}
