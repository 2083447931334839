"""HashiCorp Vault: what is asked of it, and what a person is told when it does not answer as hoped."""

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from hub.errors import SettingsError
from hub.secret_sources.vault import VaultUnavailable, read_vault
from hub.settings import load_settings
from hub.vault_settings import VaultSettings
from tests.emulators.vault import Vault
from tests.servers.redis import free_port
from tests.settings_tree import bare_environment

TOKEN = {"telegram.token": "123456:from-the-vault"}


@pytest.fixture
def vault() -> Iterator[Vault]:
    """A running Vault with one secret."""
    with Vault().in_thread() as server:
        server.put("hubbub", dict(TOKEN))
        yield server


def settings_of(vault: Vault, **more: Any) -> VaultSettings:
    """Give the settings that lead to a secret."""
    return VaultSettings(**{"address": vault.address, "token": SecretStr(vault.token), **more})


def test_a_secret_is_read_from_its_namespace_mount_and_path(vault: Vault) -> None:
    """Each is asked for as the settings write it, slashes at their ends or not."""
    vault.put("teams/bots/hub", {"email.password": "x"}, mount="kv/own", namespace="org/team")

    found = read_vault(settings_of(vault, namespace="org/team", mount="/kv/own/", path="/teams/bots/hub"))

    assert found == {"email.password": "x"}
    assert vault.requests == ["GET kv/own/data/teams/bots/hub"]


def test_an_answer_may_come_in_parts(vault: Vault) -> None:
    """As every large one does, and what goes through a proxy."""
    vault.is_slow = True
    large = {"email.password": "x" * 100_000}
    vault.put("hubbub", large)

    assert read_vault(settings_of(vault)) == large


def test_an_answer_without_end_is_refused(vault: Vault) -> None:
    """Whatever stands at the address."""
    vault.put("hubbub", {"email.password": "x" * (5 << 20)})

    with pytest.raises(SettingsError, match="more than 4 MiB"):
        read_vault(settings_of(vault))


async def test_it_can_be_read_where_an_event_loop_runs(vault: Vault) -> None:
    """Settings are read wherever a program wants them."""
    assert read_vault(settings_of(vault)) == TOKEN


@pytest.mark.parametrize(
    ("change", "told", "kind"),
    [
        ({"is_sealed": True}, "sealed", VaultUnavailable),
        ({"status": 472}, "cannot answer now", VaultUnavailable),
        ({"status": 502}, "cannot answer now", VaultUnavailable),
        ({"status": 418}, "VAULT answers secret/data/hubbub with status 418", SettingsError),
        ({"status": 200}, "is no Vault", SettingsError),
        ({"secrets": {}}, "holds no secret at secret/data/hubbub", SettingsError),
        ({"deleted": {"hubbub"}}, "holds no secret at secret/data/hubbub", SettingsError),
        ({"token": "another"}, 'lacks `path "secret/data/hubbub"', SettingsError),
        ({"redirects_to": "http://active.example:8200"}, "redirects to active.example", SettingsError),
    ],
)
def test_what_is_wrong_is_told(
    vault: Vault, change: dict[str, Any], told: str, kind: type[Exception]
) -> None:
    """With what to do about it, and without the token, whatever the server repeats."""
    settings = settings_of(vault)
    for name, value in change.items():
        setattr(vault, name, value)

    with pytest.raises(kind) as error:
        read_vault(settings)

    assert told.replace("VAULT", f"Vault at 127.0.0.1:{vault.port}") in str(error.value)
    assert (
        settings.token.get_secret_value()
        not in f"{error.value!r} {error.value.__cause__!r} {error.value.__context__!r}"
    )


def test_a_vault_that_is_away_may_come_back(vault: Vault) -> None:
    """Whoever started the hub may start it again; nothing is wrong with the settings."""
    with pytest.raises(VaultUnavailable, match="cannot be asked: connection refused"):
        read_vault(settings_of(vault, address=f"http://127.0.0.1:{free_port()}"))


def test_an_approle_that_is_not_known_is_told(vault: Vault) -> None:
    """Its secret id is not."""
    settings = VaultSettings(address=vault.address, role_id=vault.role_id, secret_id=SecretStr("planted-id"))

    with pytest.raises(SettingsError, match="check the namespace, role_id and secret_id") as error:
        read_vault(settings)
    assert "planted-id" not in str(error.value)


def test_a_certificate_of_ones_own_authority_is_accepted_by_its_file_alone(tmp_path: Path) -> None:
    """And refused without."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ("-subj", "/CN=vault", "-addext", "subjectAltName=IP:127.0.0.1")
    kind = ("-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "1")
    files = ("-keyout", str(key), "-out", str(certificate))
    subprocess.run(["openssl", "req", *kind, *subject, *files], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with Vault(tls=tls).in_thread() as vault:
        vault.put("hubbub", dict(TOKEN))

        assert read_vault(settings_of(vault, ca_file=str(certificate))) == TOKEN
        with pytest.raises(VaultUnavailable, match="certificate is not accepted"):
            read_vault(settings_of(vault))
        with pytest.raises(SettingsError, match=r"vault\.ca_file"):
            read_vault(settings_of(vault, ca_file="/nowhere.pem"))


@pytest.mark.parametrize(
    ("values", "keys", "told"),
    [
        ({"telegram.tokn": "planted-1"}, "", "has the key 'telegram.tokn', but there is no such secret"),
        ({"vault.token": "planted-1"}, "", "has the key 'vault.token', but there is no such secret"),
        ({"telegram.token": 7}, "", "the value of telegram.token is no text, or empty"),
        (
            {"email.password": "planted-1"},
            '["email.password", "telegram.token"]',
            "lacks the key telegram.token",
        ),
    ],
)
def test_keys_are_secrets_of_the_settings_and_those_that_are_needed_are_there(
    vault: Vault,
    values: dict[str, Any],
    keys: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A typo in Vault is as loud as one in a file."""
    bare_environment(monkeypatch, tmp_path)
    vault.put("hubbub", values)
    monkeypatch.setenv("HUBBUB_VAULT__ADDRESS", vault.address)
    monkeypatch.setenv("HUBBUB_VAULT__TOKEN", vault.token)
    monkeypatch.setenv("HUBBUB_VAULT__KEYS", keys)

    with pytest.raises(SettingsError) as error:
        load_settings()
    assert told in str(error.value)
    assert "planted" not in str(error.value)


def test_mailboxes_may_be_json_in_vault(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its engine keeps more than texts; settings.toml says where Vault is, and a file holds the token."""
    bare_environment(monkeypatch, tmp_path)
    account = {"address": "a@b", "imap_host": "i", "smtp_host": "s", "password": "x"}
    vault.put("hubbub", {"email.accounts": [account]})
    (tmp_path / "settings.toml").write_text(f'[vault]\naddress = "{vault.address}"\n')
    (tmp_path / "token").write_text(vault.token)
    monkeypatch.setenv("HUBBUB_VAULT__TOKEN_FILE", str(tmp_path / "token"))

    assert load_settings().email.accounts[0].password.get_secret_value() == "x"


@pytest.mark.parametrize(
    "entered", [{}, {"token": "t", "role_id": "r", "secret_id": "s"}, {"secret_id": "s"}]
)
def test_there_is_one_way_into_vault(entered: dict[str, str]) -> None:
    """A token, or an AppRole."""
    with pytest.raises(ValueError, match="either a token, or role_id and secret_id"):
        VaultSettings(address="https://v:8200", **entered)
