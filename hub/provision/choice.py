"""Which files of a repository make a model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

from hub.errors import ProvisionError
from hub.provision.names import PICKLES, Source, is_fetchable, why_not
from hub.provision.repository import Listing, RepoFile

BEST_FIRST = (
    *(
        "Q8_0",
        "Q6_K",
        "Q5_K_M",
        "Q5_K_S",
        "Q5_1",
        "Q5_0",
        "Q4_K_M",
        "Q4_K_S",
        "IQ4_NL",
        "IQ4_XS",
        "Q4_1",
        "Q4_0",
    ),
    *("Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K", "F16", "BF16", "F32"),
)
"""Quantisations, the first that fits is taken; those of 16 and 32 bits last, since Q8_0 says the same in half the room."""
ROOM_SHARE = 0.5
"""Of the memory for models that a file may take which is chosen by itself: contexts and other models want room, too."""
ONNX_CONFIG = "genai_config.json"
_SHARD = re.compile(r"-\d{5}-of-(\d{5})(?=\.gguf$)")
_QUANTIZATION = re.compile(r"(?i)(?:^|[-._])((?:I?Q\d[A-Z0-9_]*)|BF16|F16|F32)(?=[-._]|$)")
_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is fetched of a repository."""

    type: Literal["gguf", "safetensors", "onnx"]
    path: str
    """What the registry names: the file, or the folder; empty is the repository's own folder."""
    files: tuple[RepoFile, ...]
    quantization: str = ""
    reason: str = ""
    """Why this quantisation, in words for a person; empty where there was nothing to choose."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size_bytes for file in self.files)


def choose(listing: Listing, source: Source, *, memory_bytes: int) -> Choice:
    """Choose the files that are wanted, or that fit best.

    Args:
        listing: all files of the repository.
        source: its `file` is a GGUF file, a quantisation such as `Q4_K_M`, or a folder; empty chooses.
        memory_bytes: what all models may take together, where the model is to run.

    Raises: ProvisionError: nothing fits; the text says what there is.
    """
    files = [file for file in listing.files if is_fetchable(file.path)]
    if not source.file:
        chosen = _best_gguf(files, memory_bytes) or _onnx(files, "") or _safetensors(files, "")
    else:
        chosen = _named(files, source.file) or _onnx(files, source.file) or _safetensors(files, source.file)
    if chosen is None:
        raise ProvisionError(_nothing(listing, source))
    if unsummed := [file.path for file in chosen.files if not file.sha256 and not file.git_sha1]:
        raise ProvisionError(
            f"{unsummed[0]} has no sum on this hub, so that nobody can tell whether it is right"
        )
    return chosen


def quantization_of(path: str) -> str:
    """Read a quantisation out of a file's name; empty where it has none."""
    found = _QUANTIZATION.findall(PurePosixPath(path).name.removesuffix(".gguf"))
    return str(found[-1]).upper() if found else ""


def _is_model(file: RepoFile) -> bool:
    # Projectors of images and importance matrices are no models.
    name = PurePosixPath(file.path).name.lower()
    return name.endswith(".gguf") and not name.startswith("mmproj") and "imatrix" not in name


def _best_gguf(files: Sequence[RepoFile], memory_bytes: int) -> Choice | None:
    models = [file for file in files if _is_model(file)]
    if not (found := _quantized(files, models)):
        kinds = {_SHARD.sub("", file.path) for file in models}
        return _gguf(files, models[0]) if len(kinds) == 1 else None
    if len(found) == 1:
        return found[0]
    room_bytes = int(memory_bytes * ROOM_SHARE)
    room = f"{room_bytes / 1e9:.1f} GB, half of the memory for models"
    if fitting := next((one for one in found if one.size_bytes <= room_bytes), None):
        return replace(
            fitting,
            reason=f"{fitting.quantization} was chosen: of {len(found)} quantisations the best one whose file "
            f"({fitting.size_bytes / 1e9:.1f} GB) fits into {room}.",
        )
    smallest = min(found, key=lambda one: one.size_bytes)
    return replace(
        smallest,
        reason=f"{smallest.quantization} was chosen, the smallest of {len(found)} quantisations "
        f"({smallest.size_bytes / 1e9:.1f} GB): none fits into {room}.",
    )


def _quantized(files: Sequence[RepoFile], models: Sequence[RepoFile]) -> list[Choice]:
    """Give a choice for each known quantisation that is whole, the best first."""
    found: list[Choice] = []
    problem: ProvisionError | None = None
    for wanted in BEST_FIRST:
        if file := next((one for one in models if quantization_of(one.path) == wanted), None):
            try:
                found.append(_gguf(files, file))
            except ProvisionError as error:
                problem = error
    if problem and not found:
        raise problem
    return found


def _named(files: Sequence[RepoFile], wanted: str) -> Choice | None:
    for file in files:
        if file.path == wanted and wanted.endswith(".gguf"):
            return _gguf(files, file)
    by_quantization = (one for one in files if _is_model(one) and quantization_of(one.path) == wanted.upper())
    found = next(by_quantization, None)
    return _gguf(files, found) if found else None


def _gguf(files: Sequence[RepoFile], file: RepoFile) -> Choice:
    shards = [file]
    if shard := _SHARD.search(file.path):
        # llama.cpp finds the others beside the first.
        begin, end = file.path[: shard.start()], f"-of-{shard[1]}.gguf"
        shards = [one for one in files if one.path.startswith(f"{begin}-") and one.path.endswith(end)]
        shards.sort(key=lambda one: one.path)
        if len(shards) != int(shard[1]):
            raise ProvisionError(f"of {file.path} only {len(shards)} of {int(shard[1])} parts are there")
    return Choice(
        type="gguf", path=shards[0].path, files=tuple(shards), quantization=quantization_of(file.path)
    )


def _in_folder(files: Sequence[RepoFile], folder: str) -> list[RepoFile]:
    parent = folder or "."
    return [file for file in files if str(PurePosixPath(file.path).parent) == parent]


def _onnx(files: Sequence[RepoFile], folder: str) -> Choice | None:
    def rank(path: str) -> tuple[bool, bool, str]:
        return "cpu" not in path, "int4" not in path, path

    folders = sorted(
        {str(PurePosixPath(file.path).parent) for file in files if file.path.endswith(ONNX_CONFIG)}, key=rank
    )
    found = next(
        (one for one in folders if not folder or one == folder or one.startswith(f"{folder}/")), None
    )
    if found is None:
        return None
    inside = _in_folder(files, "" if found == "." else found)
    if not any(file.path.endswith(".onnx") for file in inside):
        return None
    return Choice(type="onnx", path="" if found == "." else found, files=tuple(inside))


def _safetensors(files: Sequence[RepoFile], folder: str) -> Choice | None:
    inside = [file for file in _in_folder(files, folder) if not file.path.endswith((".gguf", ".onnx"))]
    names = {PurePosixPath(file.path).name for file in inside}
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        return None
    return Choice(type="safetensors", path=folder, files=tuple(inside))


def _nothing(listing: Listing, source: Source) -> str:
    paths = [file.path for file in listing.files]
    if source.file in paths:
        fetchable = f"{source.file} is no model by itself; name a GGUF file, a quantisation or a folder"
        return fetchable if is_fetchable(source.file) else why_not(source.file)
    models = sorted(
        path for path in paths if is_fetchable(path) and path.endswith((".gguf", ".safetensors", ".onnx"))
    )
    if models:
        more = f" and {len(models) - _SHOWN} more" if len(models) > _SHOWN else ""
        wanted = f"{source.file!r}" if source.file else "one that fits best"
        return f"{listing.repo} has no {wanted}; there are: {', '.join(models[:_SHOWN])}{more}"
    if pickles := [path for path in paths if path.endswith(PICKLES)]:
        return why_not(ascii(pickles[0][:100]).strip("'"))
    return f"{listing.repo} has no model: neither GGUF, safetensors nor ONNX files"
