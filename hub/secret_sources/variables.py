"""The variables of the environment and of `.env`, without those that name the file of a secret."""

from collections.abc import Mapping
from typing import Any

from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource

from hub.secret_sources.names import referring


class OwnEnvironment(EnvSettingsSource):
    """The environment; what the files hold arrives with settings.toml."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        loaded = super()._load_env_vars()
        return {name: value for name, value in loaded.items() if not referring(name, self.settings_cls)}


class OwnDotEnv(DotEnvSettingsSource):
    """`.env`, and of that what is the hub's: other programs often share the file."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        loaded = super()._load_env_vars()
        return {name: value for name, value in loaded.items() if not referring(name, self.settings_cls)}

    def __call__(self) -> dict[str, Any]:
        """Return its settings."""
        own = self.settings_cls.model_fields
        return {name: value for name, value in super().__call__().items() if name in own}
