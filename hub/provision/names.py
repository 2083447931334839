"""Names of repositories and files as people and other servers write them; what is none never becomes a path."""

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hub.errors import ProvisionError
from hub.model_registry import DEFAULT, ROLES

MODELS_FOLDER = "models"
"""In the data folder."""
WEIGHTS = (".gguf", ".safetensors", ".onnx", ".onnx.data", ".onnx_data")
TEXTS = (".json", ".txt", ".jinja")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")

REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?", re.ASCII)
_PART = re.compile(r"[A-Za-z0-9_+=@(),\[\]-][A-Za-z0-9_+=@(),\[\]. -]{0,149}", re.ASCII)
MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,99}", re.ASCII)
_MOST_PARTS = 8


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be fetched."""

    repo: str
    file: str = ""
    """A file, a folder or a quantisation; empty chooses."""

    def __str__(self) -> str:
        return f"{self.repo}:{self.file}" if self.file else self.repo


def parse_source(text: str) -> Source:
    """Read `REPO[:FILE]`.

    Raises: ProvisionError: it is of another form, or its name could lead elsewhere.
    """
    repo, _, file = text.partition(":")
    return Source(check_repo(repo), check_file(file) if file else "")


def check_repo(repo: str) -> str:
    """Return a repository's name.

    Raises: ProvisionError: it is none.
    """
    if not REPO.fullmatch(repo) or ".." in repo or "--" in repo:
        raise ProvisionError(f"{repo[:100]!a} is no repository; one looks like owner/name")
    return repo


def check_file(path: str) -> str:
    """Return the path of a file or folder in a repository.

    Raises: ProvisionError: it could lead out of the folder it belongs into.
    """
    parts = path.split("/")
    if len(parts) > _MOST_PARTS or not all(
        _PART.fullmatch(part) and not part.endswith(" ") for part in parts
    ):
        raise ProvisionError(f"{path[:100]!a} is no name for a file of a model")
    return path


def is_safe(path: str) -> bool:
    """Tell whether a path that another server names is one."""
    try:
        check_file(path)
    except ProvisionError:
        return False
    return True


def is_fetchable(path: str) -> bool:
    """Tell whether a file is weights or text: nothing that runs code when it is opened."""
    name = PurePosixPath(path).name
    return is_safe(path) and (name.endswith((*WEIGHTS, *TEXTS)) or name == "tokenizer.model")


def why_not(path: str) -> str:
    """Say why a file is not fetched."""
    if path.endswith(PICKLES):
        return (
            f"{path} is not fetched: it is a Python pickle, which can run any code when it is opened. "
            "Look for the same model as .safetensors or .gguf."
        )
    kinds = ", ".join(f"*{ending}" for ending in (*WEIGHTS, *TEXTS))
    return f"{path[:100]!a} is not fetched: only {kinds} and tokenizer.model are"


def target_of(models: Path, repo: str, file: str) -> Path:
    """Return where a file goes.

    Raises: ProvisionError: a link in between would lead out of the folder.
    """
    target = models.joinpath(*check_repo(repo).split("/"), *check_file(file).split("/"))
    inside = Path(os.path.realpath(target.parent)).is_relative_to(os.path.realpath(models))
    if not inside or target.is_symlink():
        raise ProvisionError(f"{target} is a link, or lies behind one; remove it first")
    return target


def check_model_name(name: str) -> str:
    """Return a name for the registry.

    Raises: ProvisionError: it is none.
    """
    if name == DEFAULT or name in ROLES or not MODEL.fullmatch(name):
        raise ProvisionError(
            f"{name[:100]!a} is no name for a model: letters, digits and ._:@/+- make one, but no name of a role"
        )
    return name


def name_for(text: str) -> str:
    """Make a name for the registry of a file's or repository's."""
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", text.removesuffix(".gguf")).lower()
    plain = re.sub(r"[^a-z0-9._-]+", "-", stem).strip("-._")[:100]
    return check_model_name(plain or "model")
