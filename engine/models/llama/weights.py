"""The weights of a model file, loaded once for all contexts that compute with them."""

import os
import threading
from pathlib import Path
from typing import Any

from engine.models.hardware import ModelSize
from engine.models.llama.adapters import Adapter, load_adapter
from engine.models.llama.files import checked_file, useful_context
from engine.models.llama.library import llama_cpp, start_library
from engine.models.llama.vocabulary import Vocabulary
from hub.errors import ModelError
from hub.model_settings import AdapterSettings, GgufSettings


class LlamaWeights:
    """A loaded model and its vocabulary; its memory is freed when the last one who holds it lets go."""

    def __init__(self, path: Path, model: Any) -> None:
        self.path = path
        self.pointer = model
        self.vocabulary = Vocabulary(model)
        self._holders = 1
        is_recurrent = llama_cpp.llama_model_is_recurrent(model) or llama_cpp.llama_model_is_hybrid(model)
        self.is_cuttable = not is_recurrent
        """Whether the end of a computed text can be forgotten; recurrent layers keep no more than their last state."""
        self._adapters: dict[AdapterSettings, Adapter] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(cls, settings: GgufSettings) -> "LlamaWeights":
        """Load a model file; whoever does so holds it.

        Raises: ModelError: the file is missing, not the expected one, or nothing llama.cpp can read.
        """
        path = checked_file(settings)
        start_library()
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = settings.gpu_layers
        model = llama_cpp.llama_model_load_from_file(os.fsencode(path), parameters)
        if not model:
            raise ModelError(f"model file {path} is not a GGUF file that llama.cpp can read")
        return cls(path, model)

    def hold(self) -> "LlamaWeights":
        """Keep it loaded until one more `release`.

        Raises: ModelError: it was freed already.
        """
        with self._lock:
            if not self._holders:
                raise ModelError(f"the weights of {self.path} are not loaded any more")
            self._holders += 1
        return self

    def release(self) -> None:
        """Let go; every context of this holder must be freed before."""
        with self._lock:
            self._holders -= 1
            is_unused = self._holders == 0
        if is_unused:
            llama_cpp.llama_model_free(self.pointer)

    def adapter(self, settings: AdapterSettings) -> Adapter:
        """Load an adapter for a context; it stays loaded as long as the weights.

        Raises: ModelError: the file cannot be read, or does not fit the model.
        """
        with self._lock:
            if settings not in self._adapters:
                self._adapters[settings] = load_adapter(self.pointer, settings)
            return self._adapters[settings]

    @property
    def size_bytes(self) -> int:
        """What the weights take."""
        return int(llama_cpp.llama_model_size(self.pointer))

    def size(self, kv_type: str) -> ModelSize:
        """Tell what a model on these weights needs."""
        return ModelSize(
            weights_bytes=self.size_bytes,
            kv_bytes_per_token=self.vocabulary.kv_bytes_per_token(kv_type),
            context_length=useful_context(self.path, self.vocabulary.context_length),
        )
