"""A folder with a Hugging Face model: what is in it, and whether it may be used."""

import hashlib
import json
from pathlib import Path
from typing import Any

from hub.errors import ModelError

Fields = dict[str, Any]

_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def open_folder(path: str) -> Path:
    """Return the folder of a model.

    Raises: ModelError: there is no such folder.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ModelError(f"model folder {folder} is not there")
    return folder


def read_fields(path: Path) -> Fields:
    """Read a JSON object; an absent file is an empty one.

    Raises: ModelError: the file cannot be read or holds something else.
    """
    try:
        fields = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(fields, dict):
        raise ModelError(f"{path} holds no JSON object")
    return fields


def check_safetensors(folder: Path, *, what: str = "model") -> None:
    """Make sure that weights lie in the folder which can be read without running code of theirs.

    Raises: ModelError: there are none.
    """
    if any(folder.glob("*.safetensors")):
        return
    if any(path for pattern in _PICKLED for path in folder.glob(pattern)):
        raise ModelError(
            f"the {what} in {folder} is a pickled file, which can run any code when it is read; "
            "only .safetensors is loaded: save it anew with save_pretrained of transformers"
        )
    raise ModelError(f"there is no .safetensors file of the {what} in {folder}")


def check_largest(folder: Path, expected_sha256: str) -> None:
    """Make sure that the folder's largest file is the expected one; an empty sum is not checked.

    Raises: ModelError: it is another one, or it cannot be read.
    """
    if not expected_sha256:
        return
    try:
        largest = max((path for path in folder.rglob("*") if path.is_file()), key=_size)
        found = _file_sum(largest)
    except (OSError, ValueError) as error:
        raise ModelError(f"model folder {folder} cannot be read: {error}") from error
    if found != expected_sha256.lower():
        raise ModelError(
            f"model file {largest} is not the expected one: its SHA-256 is {found}, not {expected_sha256.lower()}"
        )


def allows_code(folder: Path, trusted_sha256: str) -> bool:
    """Tell whether the model brings Python code of its own, which the settings trust.

    Raises: ModelError: it brings code that they do not trust, or names code that is not in the folder.
    """
    configs = [read_fields(folder / name) for name in ("config.json", "generation_config.json")]
    named = [text for config in configs for text in _texts(config.get("auto_map", {}))]
    if not named and not any("custom_generate" in config for config in configs):
        return False
    if any("--" in text for text in named):
        raise ModelError(f"the model in {folder} wants code of another repository, which is never fetched")
    found = code_sum(folder)
    if found == trusted_sha256.lower():
        return True
    problem = (
        f"which is not the code that trusted_code_sha256 names ({trusted_sha256.lower()})"
        if trusted_sha256
        else "which can do anything that this program can"
    )
    raise ModelError(
        f"the model in {folder} runs Python code of its own, {problem}. Read its .py files; "
        f'if you trust them, set trusted_code_sha256 = "{found}"'
    )


def code_sum(folder: Path) -> str:
    r"""Return the SHA-256 over all Python files of a folder.

    It is the sum of the lines that `sha256sum` prints for them, sorted by path:
    `find . -name '*.py' -printf '%P\n' | LC_ALL=C sort | xargs sha256sum | sha256sum`.
    """
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.py")}
    try:
        lines = [f"{_file_sum(paths[name])}  {name}\n" for name in sorted(paths, key=str.encode)]
    except OSError as error:
        raise ModelError(f"the code in {folder} cannot be read: {error.strerror}") from error
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def end_tokens(*configs: Fields) -> frozenset[int]:
    """Collect the tokens that end an answer from `config.json` and its like."""
    found: set[int] = set()
    for config in configs:
        ids = config.get("eos_token_id")
        found.update(ids if isinstance(ids, list) else [ids] if isinstance(ids, int) else [])
    return frozenset(found)


def _texts(value: Any) -> list[str]:
    """Return all texts of an `auto_map`, whose values may be lists."""
    if isinstance(value, dict):
        return [text for one in value.values() for text in _texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return [value] if isinstance(value, str) else []


def _size(path: Path) -> int:
    return path.stat().st_size


def _file_sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
