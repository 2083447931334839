"""Loads Hugging Face models from folders: never from the network, never from pickled files, no code nobody trusts."""

import importlib
import importlib.util
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.utils import logging as transformers_logging

from engine.models.hardware import ModelSize, plan_for, this_machine
from engine.models.hf_folder import allows_code, check_largest, check_safetensors, open_folder, read_fields
from engine.models.stepping import Computer
from engine.models.torch_choice import choose_computer
from engine.models.torch_int8 import quantize
from engine.models.torch_rows import TorchWeights
from hub.errors import ModelError
from hub.model_settings import AdapterSettings, SafetensorsSettings

_BITS = {"8bit": 8, "4bit": 4}


def open_computer(settings: SafetensorsSettings) -> Computer:
    """Load a model, and find out how its answers can be computed.

    Raises: ModelError: it cannot be loaded, may not be, or cannot be run.
    """
    folder = open_folder(settings.path)
    check_safetensors(folder)
    check_largest(folder, settings.sha256)
    own_code = allows_code(folder, settings.trusted_code_sha256)
    device = _device(settings)
    plan = plan_for(settings, _size(folder, settings), this_machine(has_gpu=device.type == "cuda"))
    torch.set_num_threads(plan.threads)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model = _load(folder, settings, device, own_code=own_code)
        config = model.config.get_text_config()
        weights = TorchWeights(model, vocabulary_size=int(config.vocab_size))
        return choose_computer(
            weights, plan, is_exact=model.dtype == torch.float32 and not settings.quantization
        )
    except ModelError:
        raise
    except Exception as error:
        # Whatever the code of a model raises.
        raise ModelError(
            f"the model in {folder} cannot be loaded: {type(error).__name__}: {error}"
        ) from error


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
    if settings.adapters:
        model = _with_adapters(model, settings.adapters, merges=settings.quantization not in _BITS)
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


def _with_adapters(model: Any, adapters: Sequence[AdapterSettings], *, merges: bool) -> Any:
    """Put LoRA adapters on a model, all of them at once, each with its scale."""
    try:
        import peft  # noqa: PLC0415
    except ImportError as error:
        raise ModelError(
            "adapters need the package peft: .venv/bin/pip install -c constraints.txt -e '.[adapters]'"
        ) from error
    names = [f"adapter{number}" for number, _ in enumerate(adapters)]
    adapted: Any = None
    for name, adapter in zip(names, adapters, strict=True):
        folder = open_folder(adapter.path)
        check_safetensors(folder, what="adapter")
        kind = read_fields(folder / "adapter_config.json").get("peft_type")
        if kind != "LORA":
            raise ModelError(f"the adapter in {folder} is no LoRA adapter, but {kind or 'something else'}")
        if adapted is None:
            adapted = peft.PeftModel.from_pretrained(model, folder, adapter_name=name, local_files_only=True)
        else:
            adapted.load_adapter(folder, adapter_name=name, local_files_only=True)
    adapted.base_model.set_adapter(names)
    for module in adapted.modules():
        if isinstance(module, peft.tuners.lora.LoraLayer):
            for name, adapter in zip(names, adapters, strict=True):
                if name in module.scaling:
                    module.scaling[name] *= adapter.scale
    return adapted.merge_and_unload() if merges else adapted.base_model.model


def _size(folder: Path, settings: SafetensorsSettings) -> ModelSize:
    """Estimate what a model takes from what lies in its folder."""
    config = read_fields(folder / "config.json")
    text = {**config, **config.get("text_config", {})}
    heads = text.get("num_attention_heads") or text.get("n_head") or 1
    hidden = text.get("hidden_size") or text.get("n_embd") or 0
    head_size = text.get("head_dim") or hidden // heads
    layers = text.get("num_hidden_layers") or text.get("n_layer") or 0
    kv_heads = text.get("num_key_value_heads") or heads
    stored = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    stored_width = _stored_width(folder)
    width = {"float16": 2, "bfloat16": 2}.get(settings.dtype, 4)
    factor = {"int8": 1.3, "8bit": 1.2, "4bit": 0.7}.get(settings.quantization, width)
    return ModelSize(
        weights_bytes=int(stored / stored_width * factor),
        kv_bytes_per_token=2 * layers * kv_heads * head_size * 4,
    )


def _stored_width(folder: Path) -> int:
    """Return the bytes of a weight in the folder's files, by the first tensor of one."""
    try:
        with next(iter(folder.glob("*.safetensors"))).open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        kinds = [one["dtype"] for name, one in header.items() if name != "__metadata__"]
    except (OSError, ValueError, KeyError, StopIteration) as error:
        raise ModelError(f"the weights in {folder} cannot be read: {error}") from error
    widths = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
    return widths.get(kinds[0], 1) if kinds else 4
