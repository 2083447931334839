"""LoRA adapters of a GGUF model: small files that change what its weights compute."""

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.models.llama.library import llama_cpp
from hub.errors import ModelError
from hub.model_settings import AdapterSettings

_MAGIC = b"GGUF"


@dataclass(frozen=True, slots=True)
class Adapter:
    """A loaded adapter; it belongs to its model, which frees it."""

    pointer: Any
    scale: float


def load_adapter(model: Any, settings: AdapterSettings) -> Adapter:
    """Load an adapter for a model.

    Args:
        model: the loaded model, which must outlive the adapter.
        settings: its file, and how strongly it counts.

    Raises: ModelError: the file cannot be read, or does not fit the model.
    """
    path = Path(settings.path).expanduser()
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise ModelError(f"adapter {path} cannot be read: {error.strerror}") from error
    if magic != _MAGIC:
        raise ModelError(f"adapter {path} is not a GGUF file")
    pointer = llama_cpp.llama_adapter_lora_init(model, os.fsencode(path))
    if not pointer:
        raise ModelError(
            f"adapter {path} does not fit the model: it is incomplete, made for another model, or no LoRA adapter"
        )
    return Adapter(pointer, settings.scale)


def set_adapters(context: Any, adapters: Sequence[Adapter]) -> None:
    """Let a context compute with these adapters, added up, and with no others.

    What was computed before stays as it was: prompts known from then do not fit any more.

    Raises: ModelError: llama.cpp refuses them.
    """
    count = len(adapters)
    pointers = (llama_cpp.llama_adapter_lora_p_ctypes * count)(*(adapter.pointer for adapter in adapters))
    scales = (ctypes.c_float * count)(*(adapter.scale for adapter in adapters))
    if llama_cpp.llama_set_adapters_lora(context, pointers, count, scales) != 0:
        raise ModelError("llama.cpp could not use the adapters together")
