"""What a Hugging Face model needs before its first request, by what lies in its folder."""

import json
from pathlib import Path

from engine.models.hardware import ModelSize
from engine.models.hf_folder import Fields, read_fields
from hub.errors import ModelError
from hub.model_settings import SafetensorsSettings

_WIDTH = 4
"""Bytes of a number, where nothing else is set: both runtimes compute with floats on a CPU."""


def safetensors_size(folder: Path, settings: SafetensorsSettings) -> ModelSize:
    """Estimate what a model takes as these settings load it.

    Raises: ModelError: its files cannot be read.
    """
    config = read_fields(folder / "config.json")
    text = {**config, **config.get("text_config", {})}
    heads = text.get("num_attention_heads") or text.get("n_head") or 1
    hidden = text.get("hidden_size") or text.get("n_embd") or 0
    head_size = text.get("head_dim") or hidden // heads
    layers = text.get("num_hidden_layers") or text.get("n_layer") or 0
    kv_heads = text.get("num_key_value_heads") or heads
    stored = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    stored_width = _stored_width(folder)
    width = {"float16": 2, "bfloat16": 2}.get(settings.dtype, _WIDTH)
    factor = {"int8": 1.3, "8bit": 1.2, "4bit": 0.7}.get(settings.quantization, width)
    return ModelSize(
        weights_bytes=int(stored / stored_width * factor),
        kv_bytes_per_token=2 * layers * kv_heads * head_size * width,
        context_length=text.get("max_position_embeddings") or text.get("n_positions") or 0,
    )


def onnx_size(folder: Path, model: Fields) -> ModelSize:
    """Estimate what a model takes.

    Args:
        model: the table `model` of its `genai_config.json`.
    """
    decoder = model.get("decoder", {})
    layers, heads = decoder.get("num_hidden_layers", 0), decoder.get("num_key_value_heads", 0)
    return ModelSize(
        weights_bytes=sum(path.stat().st_size for path in folder.glob("*.onnx*")),
        kv_bytes_per_token=2 * layers * heads * decoder.get("head_size", 0) * _WIDTH,
        context_length=model.get("context_length") or 0,
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
