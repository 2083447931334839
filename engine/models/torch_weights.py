"""Loads Hugging Face models from folders: never from the network, never from pickled files, no code nobody trusts."""

import importlib
import importlib.util
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.utils import logging as transformers_logging

from engine.models.hardware import Machine, Plan, plan_for, this_machine
from engine.models.hf_folder import allows_code, check_largest, check_safetensors, open_folder, read_fields
from engine.models.hf_size import safetensors_size
from engine.models.stepping import Computer
from engine.models.torch_adapters import SharedModel, beside, merged
from engine.models.torch_choice import choose_computer
from engine.models.torch_int8 import quantize
from engine.models.torch_rows import TorchWeights
from hub.errors import ModelError
from hub.model_settings import SafetensorsSettings

_BITS = {"8bit": 8, "4bit": 4}


def open_model(settings: SafetensorsSettings) -> SharedModel:
    """Load a model; its adapters are added to its weights, unless those are a base that others compute with, too.

    Raises: ModelError: it cannot be loaded, or may not be.
    """
    folder = open_folder(settings.path)
    check_safetensors(folder)
    check_largest(folder, settings.sha256)
    own_code = allows_code(folder, settings.trusted_code_sha256)
    device = _device(settings)
    _plan(folder, settings)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with _told(folder):
        return SharedModel(_load(folder, settings, device, own_code=own_code))


def open_computer(settings: SafetensorsSettings, shared: SharedModel) -> Computer:
    """Find out how the answers of a loaded model can be computed.

    Args:
        shared: the model; where the settings name a `base`, with other adapters than those of the settings.

    Raises: ModelError: it cannot be run, or not with these adapters.
    """
    folder = open_folder(settings.path)
    plan = _plan(folder, settings)
    torch.set_num_threads(plan.threads)
    with _told(folder):
        model = shared.module
        adapters = shared.add(settings.adapters if settings.base else ())
        size = int(model.config.get_text_config().vocab_size)
        weights = TorchWeights(shared, vocabulary_size=size, adapters=adapters)
        try:
            return choose_computer(
                weights, plan, is_exact=model.dtype == torch.float32 and not settings.quantization
            )
        except BaseException:
            weights.close()
            raise


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Turn whatever the code of a model raises into an error of ours."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"the model in {folder} cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def machine_for(settings: SafetensorsSettings) -> Machine:
    """Look at this machine as torch can use it.

    Raises: ModelError: the device of the settings is not there.
    """
    device = _device(settings)
    has_gpu = device.type == "cuda"
    free_bytes = torch.cuda.mem_get_info(device)[0] if has_gpu else 0
    return this_machine(has_gpu=has_gpu, gpu_memory_bytes=free_bytes)


def _plan(folder: Path, settings: SafetensorsSettings) -> Plan:
    return plan_for(settings, safetensors_size(folder, settings), machine_for(settings))


def _load(folder: Path, settings: SafetensorsSettings, device: torch.device, *, own_code: bool) -> Any:
    options: dict[str, Any] = {}
    if settings.quantization in _BITS:
        options["quantization_config"] = _bits_config(settings, device)
        options["device_map"] = {"": device}
    if own_code:
        _find_room_for_code()
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        folder,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=own_code,
        dtype=_dtype(folder, settings, device),
        **options,
    )
    model.requires_grad_(requires_grad=False)
    if settings.adapters and not settings.base:
        add = beside if settings.quantization in _BITS else merged
        model = add(model, settings.adapters)
    if settings.quantization == "int8":
        quantize(model)
    if settings.quantization not in _BITS:
        model.to(device)
    return model.eval()


def _find_room_for_code() -> None:
    """Let transformers keep its copy of a model's code where this process may write."""
    dynamic_module_utils: Any = importlib.import_module("transformers.dynamic_module_utils")
    cache = Path(dynamic_module_utils.HF_MODULES_CACHE)
    if not os.access(next(path for path in (cache, *cache.parents) if path.exists()), os.W_OK):
        dynamic_module_utils.HF_MODULES_CACHE = tempfile.mkdtemp(prefix="model-code-")


def _device(settings: SafetensorsSettings) -> torch.device:
    has_cuda = torch.cuda.is_available()
    name = settings.device if settings.device != "auto" else "cuda" if has_cuda else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"device {name!r} is unknown; there are: auto, cpu, cuda, cuda:1") from error
    if device.type not in {"cpu", "cuda"}:
        raise ModelError(f"device {name!r} is not supported; there are: auto, cpu, cuda, cuda:1")
    if device.type == "cuda" and (not has_cuda or (device.index or 0) >= torch.cuda.device_count()):
        found = torch.cuda.device_count() if has_cuda else 0
        raise ModelError(f"device {name!r} is not there: this machine has {found} GPUs that torch can use")
    if settings.quantization in _BITS and device.type != "cuda":
        raise ModelError(
            f'quantization = "{settings.quantization}" needs a GPU with CUDA; on a CPU there is "int8"'
        )
    if settings.quantization == "int8" and device.type != "cpu":
        raise ModelError('quantization = "int8" is for a CPU; on a GPU there are "8bit" and "4bit"')
    return device


def _dtype(folder: Path, settings: SafetensorsSettings, device: torch.device) -> torch.dtype:
    if settings.dtype != "auto":
        found: torch.dtype = getattr(torch, settings.dtype)
        return found
    config = read_fields(folder / "config.json")
    stored = getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "float32"), torch.float32)
    # On a CPU halves are slower than floats and less exact.
    return stored if device.type == "cuda" and isinstance(stored, torch.dtype) else torch.float32


def _bits_config(settings: SafetensorsSettings, device: torch.device) -> Any:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            f'quantization = "{settings.quantization}" needs the package bitsandbytes: '
            ".venv/bin/pip install -c constraints.txt -e '.[cuda]'"
        )
    bits = _BITS[settings.quantization]
    dtype = torch.bfloat16 if torch.cuda.get_device_capability(device)[0] >= 8 else torch.float16
    return transformers.BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_8bit=bits == 8,
        load_in_4bit=bits == 4,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_type="nf4",
    )
