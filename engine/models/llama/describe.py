"""How the GGUF models of the registry are run on this machine, told without loading their weights."""

from collections.abc import Mapping
from dataclasses import replace

from engine.models.hardware import Machine, ModelSize, describe_plan, plan_for, this_machine
from engine.models.llama.devices import free_device_bytes
from engine.models.llama.files import model_file, useful_context
from engine.models.llama.library import llama_cpp
from engine.models.llama.tokenizer import open_vocabulary
from hub.errors import ModelError
from hub.model_settings import GgufSettings, ModelSettings, bytes_of


def machine_for_llama() -> Machine:
    """Look at this machine as llama.cpp can use it."""
    has_gpu = bool(llama_cpp.llama_supports_gpu_offload())
    return this_machine(has_gpu=has_gpu, gpu_memory_bytes=free_device_bytes() if has_gpu else 0)


def describe_model(
    name: str, models: Mapping[str, ModelSettings], machine: Machine, *, limit_bytes: int
) -> str:
    """Say how a model will be run.

    Args:
        limit_bytes: what all models together may take.

    Raises: ModelError: its file cannot be read, or it takes more than its `max_memory`.
    """
    settings = models[name]
    if not isinstance(settings, GgufSettings):
        return f"run as {settings.type}"
    base = models.get(settings.base) if settings.base else settings
    if not isinstance(base, GgufSettings):
        raise ModelError(f"its base {settings.base} is not a GGUF model of the registry")
    size = size_of(base, settings.kv_type)
    if machine.gpu_memory_bytes:
        # Its weights will lie there, too; nothing left is not the same as not knowing.
        left = max(1, machine.gpu_memory_bytes - size.weights_bytes)
        machine = replace(machine, gpu_memory_bytes=left)
    limit = min(bytes_of(settings.max_memory) or limit_bytes, limit_bytes)
    limited = settings.model_copy(update={"max_memory": f"{limit >> 20} MiB"})
    return describe_plan(plan_for(limited, size, machine))


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
        kv_bytes_per_token=vocabulary.kv_bytes_per_token(kv_type),
        context_length=useful_context(path, vocabulary.context_length),
    )
