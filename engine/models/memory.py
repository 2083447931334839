"""How much memory a model will take, before it is loaded."""

from pathlib import Path

from engine.models.llama.files import model_file
from hub.errors import ModelError
from hub.model_settings import GgufSettings, LocalModelSettings, ModelSettings

_OVERHEAD_BYTES = 256 << 20
"""What a process takes beside the weights of its model: libraries and context."""


def estimated_bytes(name: str, settings: ModelSettings) -> int:
    """Tell about how much memory a model will take.

    Raises: ModelError: its file is missing.
    """
    if not isinstance(settings, LocalModelSettings):
        return 0
    path = model_file(settings) if isinstance(settings, GgufSettings) else _folder(settings)
    if not path.exists():
        raise ModelError(f"model {name} cannot be loaded: there is no file {path}")
    files = (path,) if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file()) + _OVERHEAD_BYTES


def _folder(settings: LocalModelSettings) -> Path:
    return Path(getattr(settings, "path", "")).expanduser()
