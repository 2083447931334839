"""A chat model from a folder with an ONNX model, computed by onnxruntime-genai."""

import os
from functools import partial

from engine.models.hardware import this_machine, with_context
from engine.models.hf_folder import check_largest, open_folder, read_fields
from engine.models.hf_size import onnx_size
from engine.models.hf_tokenizer import HuggingFaceTokenizer
from engine.models.stepped_model import SteppedChatModel
from engine.models.stepping import Computer
from hub.errors import ModelError
from hub.model_settings import OnnxSettings


class OnnxChatModel(SteppedChatModel):
    """Runs any language model that has a `genai_config.json`."""

    @classmethod
    async def load(cls, name: str, settings: OnnxSettings) -> "OnnxChatModel":
        """Load a model folder.

        Raises:
            ModelError: it cannot be loaded.
            SettingsError: the prompt profile is unknown.
        """
        folder = open_folder(settings.path)
        config = read_fields(folder / "genai_config.json").get("model")
        if not isinstance(config, dict):
            raise ModelError(f"there is no genai_config.json in {folder} that describes a model")
        if settings.adapters:
            raise ModelError("models of type onnx take no adapters; merge them before the model is converted")
        check_largest(folder, settings.sha256)
        tokenizer = HuggingFaceTokenizer.load(settings)
        size = onnx_size(folder, config)
        settings = with_context(settings, size, this_machine())
        longest = size.context_length or settings.context_length
        model = cls(name, min(settings.context_length, longest), tokenizer)
        await model.open(partial(_open_computer, settings), waiting_tokens=settings.most_waiting_tokens)
        return model


def _open_computer(settings: OnnxSettings) -> Computer:
    # The libraries would note how they are used, in files of the user's cache folder, and tell their maker.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        from engine.models.onnx_computer import OnnxComputer  # noqa: PLC0415
    except ImportError as error:
        raise ModelError(
            "models of type onnx need the package onnxruntime-genai: .venv/bin/pip install -c constraints.txt -e '.[onnx]'"
        ) from error
    return OnnxComputer.open(settings)
