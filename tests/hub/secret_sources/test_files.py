"""Secrets in files and folders: every secret arrives from each of them, in one way only, and none is repeated."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from hub.errors import SettingsError
from hub.model_settings import RemoteSettings
from hub.secret_sources import files
from hub.secret_sources.names import kind_of, path_of, values_of, variable_of
from hub.settings import Settings, load_settings
from tests.emulators.vault import Vault
from tests.planting import MARK, WAYS, planted
from tests.settings_tree import bare_environment, leaves

FAR = '[models.far]\ntype = "remote"\nbase_urls = ["http://127.0.0.1:9/v1"]\nmodel = "m"\n'
SHOP = '[connectors.shop]\ntype = "http"\ncallback_url = "http://127.0.0.1:9/"\n'

Plant = Callable[[dict[str, str]], None]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the tables that secrets belong to, and no folder of Docker's."""
    bare_environment(monkeypatch, tmp_path)
    monkeypatch.setattr(files, "DOCKER_FOLDER", str(tmp_path / "run-secrets"))
    (tmp_path / "settings.toml").write_text(FAR + SHOP)
    return tmp_path


@pytest.fixture(params=list(WAYS))
def plant(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    """Give each way in which secrets may be given."""
    with Vault().in_thread() as vault:

        def put(values: dict[str, str]) -> None:
            for name, value in WAYS[request.param](folder, values, vault).items():
                monkeypatch.setenv(name, value)

        yield put


def test_every_secret_arrives_by_every_way(plant: Plant) -> None:
    """Those of the tree, of mailboxes and sites, of models, and of connectors of other packages."""
    values = planted()
    plant(values)

    settings = load_settings()

    arrived = {".".join(path): value for path, value in leaves(settings)}
    for name, value in values.items():
        if kind_of(path_of(name), Settings) == "text":
            found = arrived.get(name) if name != "models.far.api_key" else settings.models["far"].api_key  # type: ignore[union-attr]
            assert (found.get_secret_value() if isinstance(found, SecretStr) else found) == value, name
    assert settings.email.accounts[0].password.get_secret_value() == "planted-account-0001"
    assert settings.web.sites[0].identity_secret.get_secret_value().endswith("32-bytes-0001")
    assert isinstance(far := settings.models["far"], RemoteSettings)
    assert far.model == "m"
    assert MARK not in repr(settings).replace(repr(settings.connectors), "")
    assert len(set(values_of(settings))) >= len(values)


@pytest.mark.parametrize("name", ["telegram.token", "email.accounts"])
def test_a_secret_that_is_given_twice_is_refused(
    plant: Plant, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever changes one of the two would wonder why nothing happens; neither value is told."""
    value = planted()[name]
    plant({name: value})
    second = folder / "second"
    second.write_text(value)
    variable = variable_of(path_of(name))
    is_file = f"{variable}_FILE" in os.environ
    monkeypatch.setenv(variable if is_file else f"{variable}_FILE", value if is_file else str(second))

    with pytest.raises(SettingsError) as error:
        load_settings()

    assert f"{name} is given twice: by " in str(error.value)
    assert MARK not in str(error.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "No such file"), (b"", "is empty"), (b"\n", "is empty"), (b"\xff\xfe", "UTF-8"), (b"x" * (2 << 20), "1 MiB")],
)  # fmt: skip
def test_a_file_that_is_no_secret_is_told_with_its_variable(
    content: bytes | None, told: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mount that is missing must not start a hub without its token."""
    if content is not None:
        (folder / "token").write_bytes(content)
    monkeypatch.setenv("HUBBUB_TELEGRAM__TOKEN_FILE", str(folder / "token"))

    with pytest.raises(SettingsError, match=f"HUBBUB_TELEGRAM__TOKEN_FILE.*{told}"):
        load_settings()


def test_only_secrets_may_be_files(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Settings whose own names end in `_file` stay what they are; for the others it is a typo."""
    (folder / "x").write_text("9")
    monkeypatch.setenv("HUBBUB_ENGINE__MODELS_FILE", str(folder / "x"))
    assert load_settings().engine.models_file == str(folder / "x")

    monkeypatch.setenv("HUBBUB_API__PORT_FILE", str(folder / "x"))
    with pytest.raises(SettingsError, match=r"api\.port_file: there is no such setting"):
        load_settings()


def test_a_folder_may_hold_what_belongs_to_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs share such folders, and Kubernetes keeps its own links in them; a misspelt name of ours is told."""
    mounted = folder / "mounted"
    (mounted / "..data").mkdir(parents=True)
    (mounted / "postgres_password").write_text("x")
    (mounted / "telegram.token").symlink_to(mounted / "..data" / "token")
    (mounted / "..data" / "token").write_text("1:a")
    monkeypatch.setenv("HUBBUB_SECRETS_DIR", str(mounted))

    assert load_settings().telegram.token.get_secret_value() == "1:a"

    (mounted / "hubbub_telegram__tokn").write_text("x")
    with pytest.raises(SettingsError, match="hubbub_telegram__tokn: there is no such secret"):
        load_settings()
    monkeypatch.setenv("HUBBUB_SECRETS_DIR", str(folder / "missing"))
    with pytest.raises(SettingsError, match=r"HUBBUB_SECRETS_DIR: .* is no folder"):
        load_settings()


def test_json_that_is_broken_is_told_without_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of mailboxes holds passwords."""
    (folder / "accounts").write_text('[{"password": "hunter2"')
    monkeypatch.setenv("HUBBUB_EMAIL__ACCOUNTS_FILE", str(folder / "accounts"))

    with pytest.raises(SettingsError) as error:
        load_settings()
    assert "holds no JSON" in str(error.value)
    assert "hunter2" not in f"{error.value!r} {error.value.__cause__!r}"


def test_the_secrets_of_docker_are_found_by_themselves(folder: Path) -> None:
    """Compose mounts them into one folder, under the names that the file gives them."""
    (folder / "run-secrets").mkdir()
    (folder / "run-secrets" / "hubbub_telegram__token").write_text("1:a\n")

    assert load_settings().telegram.token.get_secret_value() == "1:a"


def test_a_folder_that_nobody_named_and_nobody_may_list_is_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Systems keep secrets of other programs where Docker puts those of a container; one that is named is meant."""
    secrets = folder / "run-secrets"
    secrets.mkdir()
    iterdir = Path.iterdir

    def listed(self: Path) -> Iterator[Path]:
        if self == secrets:
            raise PermissionError(13, "Permission denied")
        return iter(iterdir(self))

    monkeypatch.setattr(Path, "iterdir", listed)

    assert not load_settings().telegram.token.get_secret_value()
    monkeypatch.setenv(files.FOLDER_VARIABLE, str(secrets))
    with pytest.raises(SettingsError, match="cannot be listed: Permission denied"):
        load_settings()
