"""How the GGUF models of the registry are run on this machine, told without loading their weights."""

from collections.abc import Mapping
from dataclasses import replace

from engine.models.hardware import Machine, ModelSize, describe_plan, plan_for, this_machine
from engine.models.llama.devices import free_device_bytes
from engine.models.llama.files import model_file, useful_context
from engine.models.llama.library import llama_cpp
from engine.models.llama.tokenizer import open_vocabulary
from engine.models.llama.vocabulary import Vocabulary
from hub.errors import ModelError
from hub.model_settings import GgufSettings, ModelSettings

_KV_BYTES = {"f16": 2.0, "q8_0": 34 / 32}
"""Of one number; a block of q8_0 holds 32 numbers and their scale."""


def machine_for_llama() -> Machine:
    """Look at this machine as llama.cpp can use it."""
    has_gpu = bool(llama_cpp.llama_supports_gpu_offload())
    return this_machine(has_gpu=has_gpu, gpu_memory_bytes=free_device_bytes() if has_gpu else 0)


def describe_model(name: str, models: Mapping[str, ModelSettings], machine: Machine) -> str:
    """Say how a model will be run.

    Raises: ModelError: its file cannot be read, or it takes more than its `max_memory`.
    """
    settings = models[name]
    if not isinstance(settings, GgufSettings):
        return f"run as {settings.type}"
    base = models.get(settings.base) if settings.base else settings
    if not isinstance(base, GgufSettings):
        raise ModelError(f"its base {settings.base} is not a GGUF model of the registry")
    size = size_of(base, settings.kv_type)
    # Its weights will lie there, too.
    left = replace(machine, gpu_memory_bytes=max(0, machine.gpu_memory_bytes - size.weights_bytes))
    return describe_plan(plan_for(settings, size, left))


def size_of(settings: GgufSettings, kv_type: str) -> ModelSize:
    """Read from a model's file what it will need.

    Raises: ModelError: the file cannot be read.
    """
    path = model_file(settings)
    try:
        weights_bytes = path.stat().st_size
    except OSError as error:
        raise ModelError(f"model file {path} cannot be read: {error.strerror}") from error
    vocabulary = open_vocabulary(path)
    return ModelSize(
        weights_bytes=weights_bytes,
        kv_bytes_per_token=kv_bytes_per_token(vocabulary, kv_type),
        context_length=useful_context(path, (_numbers(vocabulary, "context_length") or [0])[0]),
    )


def kv_bytes_per_token(vocabulary: Vocabulary, kv_type: str) -> int:
    """Tell what a context takes for each of its tokens.

    From the file's own words, because llama.cpp aborts the process when a vocabulary is asked for layers and heads.
    """
    (layers,) = _numbers(vocabulary, "block_count") or [0]
    (heads,) = _numbers(vocabulary, "attention.head_count")[:1] or [1]
    kv_heads = _numbers(vocabulary, "attention.head_count_kv") or [heads]
    (embedding,) = _numbers(vocabulary, "embedding_length") or [0]
    (width,) = _numbers(vocabulary, "attention.key_length") or [embedding // max(1, heads)]
    (value_width,) = _numbers(vocabulary, "attention.value_length") or [width]
    # Most models have the same heads in every layer; the others say it layer by layer.
    all_heads = sum(kv_heads) if len(kv_heads) > 1 else kv_heads[0] * layers
    return int(all_heads * (width + value_width) * _KV_BYTES[kv_type])


def _numbers(vocabulary: Vocabulary, key: str) -> list[int]:
    text = vocabulary.metadata(f"{vocabulary.metadata('general.architecture')}.{key}")
    return [int(part) for part in text.strip("[]").split(",") if part.strip().isdecimal()]
