"""How the GGUF models of the registry are run on this machine, told without loading their weights."""

from collections.abc import Mapping

from engine.models.hardware import Machine, ModelSize, describe_plan, plan_for, this_machine
from engine.models.llama.files import model_file
from engine.models.llama.library import llama_cpp
from engine.models.llama.tokenizer import open_vocabulary
from engine.models.llama.vocabulary import Vocabulary
from hub.errors import ModelError
from hub.model_settings import GgufSettings, ModelSettings

_KV_BYTES = {"f16": 2.0, "q8_0": 34 / 32}
"""Of one number; a block of q8_0 holds 32 numbers and their scale."""


def machine_for_llama() -> Machine:
    """Look at this machine as llama.cpp can use it."""
    return this_machine(has_gpu=bool(llama_cpp.llama_supports_gpu_offload()))


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
    return describe_plan(plan_for(settings, size_of(base, settings.kv_type), machine))


def size_of(settings: GgufSettings, kv_type: str) -> ModelSize:
    """Read from a model's file what it will need.

    Raises: ModelError: the file cannot be read.
    """
    path = model_file(settings)
    try:
        weights_bytes = path.stat().st_size
    except OSError as error:
        raise ModelError(f"model file {path} cannot be read: {error.strerror}") from error
    return ModelSize(
        weights_bytes=weights_bytes,
        kv_bytes_per_token=kv_bytes_per_token(open_vocabulary(path), kv_type),
    )


def kv_bytes_per_token(vocabulary: Vocabulary, kv_type: str) -> int:
    """Tell what a context takes for each of its tokens.

    From the file's own words, because llama.cpp aborts the process when a vocabulary is asked for layers and heads.
    """

    def number(key: str) -> list[int]:
        text = vocabulary.metadata(f"{vocabulary.metadata('general.architecture')}.{key}")
        return [int(part) for part in text.strip("[]").split(",") if part.strip().isdecimal()]

    (layers,) = number("block_count") or [0]
    (heads,) = number("attention.head_count")[:1] or [1]
    kv_heads = number("attention.head_count_kv") or [heads]
    (width,) = number("attention.key_length") or [(number("embedding_length") or [0])[0] // max(1, heads)]
    (value_width,) = number("attention.value_length") or [width]
    # Most models have the same heads in every layer; the others say it layer by layer.
    all_heads = sum(kv_heads) if len(kv_heads) > 1 else kv_heads[0] * layers
    return int(all_heads * (width + value_width) * _KV_BYTES[kv_type])
