"""Settings of HashiCorp Vault, from which secrets may be read at start."""

from pydantic import SecretStr, model_validator

from hub.model_settings import Seconds, Table


class VaultSettings(Table):
    """A secret of the KV engine, version 2; off until `address` is set."""

    address: str = ""
    """`https://vault.example.org:8200`."""
    token: SecretStr = SecretStr("")
    role_id: str = ""
    """With `secret_id` instead of a token: the AppRole to log in as."""
    secret_id: SecretStr = SecretStr("")
    mount: str = "secret"
    """Where the engine is mounted."""
    path: str = "hubbub"
    """Of the secret below the mount; its keys are settings such as `telegram.token`."""
    namespace: str = ""
    keys: tuple[str, ...] = ()
    """Settings that must be among the keys, such as `telegram.token`; without one of them nothing starts."""
    ca_file: str = ""
    """Certificate authority file for a server with a private one."""
    timeout_s: Seconds = 10.0

    @model_validator(mode="after")
    def _know_how_to_enter(self) -> "VaultSettings":
        if not self.address:
            return self
        if not self.address.startswith(("https://", "http://")):
            raise ValueError("address: expected such as https://vault.example.org:8200")
        has_token, has_role = bool(self.token.get_secret_value()), bool(self.secret_id.get_secret_value())
        if has_token == has_role or has_role != bool(self.role_id):
            raise ValueError("needs either a token, or role_id and secret_id")
        return self
