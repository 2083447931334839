"""Settings: where they come from, who wins, and what a mistake is told."""

from pathlib import Path

import pytest

from hub.errors import SettingsError
from hub.model_settings import RemoteSettings
from hub.settings import load_settings

MAILBOX = """
[[email.accounts]]
address = "help@example.org"
imap_host = "imap.example.org"
smtp_host = "smtp.example.org"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without settings."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str, name: str = "settings.toml") -> None:
    """Put a file into the working directory."""
    (folder / name).write_text(text)


def test_the_environment_wins_over_dotenv_and_both_over_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearer to the command, the stronger."""
    write(folder, "[api]\nport = 1\nhost = '0.0.0.0'\nmax_body_bytes = 5\n")
    write(folder, "HUBBUB_API__PORT=2\nHUBBUB_API__HOST=::1\n", ".env")
    monkeypatch.setenv("HUBBUB_API__PORT", "3")

    api = load_settings().api

    assert (api.port, api.host, api.max_body_bytes) == (3, "::1", 5)


def test_variables_of_other_programs_in_dotenv_are_none_of_our_business(folder: Path) -> None:
    """Compose and others share the file."""
    write(folder, "COMPOSE_PROJECT_NAME=x\nHUBBUB_API__PORT=9\n", ".env")

    assert load_settings().api.port == 9


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("settings.toml", "[api]\nprot = 1\n", "api.prot: there is no such setting"),
        ("settings.toml", "[api]\nport = 70000\n", "api.port: Input should be less than"),
        ("settings.toml", "[api\n", "is not valid TOML"),
        ("settings.toml", "[telegram]\npoll_timeout_s = 0.1\n", "telegram.poll_timeout_s"),
        (
            "settings.toml",
            f"{MAILBOX}{MAILBOX}",
            "email: Value error, help@example.org is there more than once",
        ),
        ("settings.toml", "[engine]\nmodel = 'qwen'\n", "but the tables [models.*] are: smollm2-135m"),
        (".env", "HUBBUB_APIS__PORT=1\n", "HUBBUB_APIS__PORT"),
        (".env", "HUBBUB_API__PROT=1\n", "api.prot: there is no such setting"),
    ],
)
def test_a_mistake_is_told_with_its_place(folder: Path, file: str, text: str, expected: str) -> None:
    """A typo never passes in silence, wherever it stands."""
    write(folder, text, file)

    with pytest.raises(SettingsError) as error:
        load_settings()
    assert expected in str(error.value)


def test_a_typo_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a token that was meant to be set would simply be missing."""
    monkeypatch.setenv("HUBBUB_TELEGRM__TOKEN", "x")

    with pytest.raises(SettingsError, match="HUBBUB_TELEGRM__TOKEN"):
        load_settings()


def test_a_wrong_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors name the place, not the value."""
    monkeypatch.setenv("HUBBUB_EMAIL__ACCOUNTS", '[{"address": "a@b", "password": {"hunter2": 1}}]')

    with pytest.raises(SettingsError) as error:
        load_settings()
    assert "hunter2" not in str(error.value)


def test_secrets_are_hidden_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log line or traceback with the settings in it gives nothing away."""
    monkeypatch.setenv("HUBBUB_TELEGRAM__TOKEN", "123456:secret-token")

    assert "secret-token" not in repr(load_settings())


def test_a_mail_password_may_come_alone_from_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account may stand in a file everybody reads."""
    write(folder, MAILBOX)
    monkeypatch.setenv("HUBBUB_EMAIL__PASSWORD", "from the environment")

    [account] = load_settings().email.accounts

    assert account.password.get_secret_value() == "from the environment"


def test_the_key_of_a_model_can_come_from_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It joins the table of the file, so that the file holds no secret."""
    write(folder, '[models.far]\ntype = "remote"\nbase_urls = ["http://h/v1"]\nmodel = "m"\n')
    monkeypatch.setenv("HUBBUB_MODELS__FAR__API_KEY", "sk-1")

    far = load_settings().models["far"]

    assert isinstance(far, RemoteSettings)
    assert (far.model, far.api_key.get_secret_value()) == ("m", "sk-1")
    assert "sk-1" not in repr(far)
