"""Computes with an ONNX model one answer after another, a token of each in turn.

The library's own engine puts answers together, but on a CPU a request that comes later waits until all of them have
ended, and it knows neither `min_p` nor `logit_bias`. Here each answer has a generator, and none waits for another.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime_genai as genai
from numpy.typing import NDArray

from engine.models.hardware import ModelSize, Plan, plan_for, this_machine
from engine.models.hf_folder import open_folder, read_fields
from engine.models.hf_size import onnx_size
from engine.models.stepping import Computed, Place
from hub.errors import ModelError
from hub.model_settings import OnnxSettings

_FEWEST_STEP_TOKENS = 32


class OnnxComputer:
    """Gives every answer a generator of the library."""

    def __init__(self, model: Any, plan: Plan, size: ModelSize, *, vocabulary_size: int) -> None:
        self.parallel = plan.parallel
        self.step_tokens = max(plan.batch_tokens, _FEWEST_STEP_TOKENS)
        self.vocabulary_size = vocabulary_size
        self.memory_bytes = size.weights_bytes
        self._model = model
        self._size = size

    @classmethod
    def open(cls, settings: OnnxSettings) -> "OnnxComputer":
        """Load a model.

        Raises: ModelError: it cannot be loaded.
        """
        folder = open_folder(settings.path)
        fields = read_fields(folder / "genai_config.json")["model"]
        size = onnx_size(folder, fields)
        plan = plan_for(settings, size, this_machine())
        try:
            config = genai.Config(str(folder))
            # Threads that wait actively take the cores from everything else of this machine, and are no faster then.
            session = {"intra_op_num_threads": plan.threads, "session.intra_op.allow_spinning": "0"}
            config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
            model = genai.Model(config)
        except Exception as error:
            # The library raises RuntimeError and its own kinds for all that can be wrong with a folder.
            raise ModelError(f"the model in {folder} cannot be loaded: {error}") from error
        return cls(model, plan, size, vocabulary_size=int(fields.get("vocab_size", 0)))

    def read(self, place: Place) -> Computed | None:
        """Compute the next part of a prompt."""
        if place.state is None:
            parameters = genai.GeneratorParams(self._model)
            parameters.set_search_options(max_length=place.max_tokens + 1, batch_size=1)
            place.state = genai.Generator(self._model, parameters)
            self.memory_bytes += place.max_tokens * self._size.kv_bytes_per_token
        part = place.tokens[place.computed : place.computed + self.step_tokens]
        place.state.append_tokens(np.array(part, np.int32))
        place.computed += len(part)
        return None if place.pending else _computed(place)

    def advance(self, places: Sequence[Place]) -> list[Computed]:
        """Compute the last token of each answer."""
        for place in places:
            place.state.append_tokens(np.array(place.tokens[-1:], np.int32))
            place.computed += 1
        return [_computed(place) for place in places]

    def drop(self, place: Place) -> None:
        """Forget a request."""
        if place.state is not None:
            place.state = None
            self.memory_bytes -= place.max_tokens * self._size.kv_bytes_per_token

    def close(self) -> None:
        """Free everything."""
        del self._model


def _computed(place: Place) -> Computed:
    logits: NDArray[np.float32] = place.state.get_logits()
    row = logits.reshape(-1, logits.shape[-1])[-1]
    return Computed(place, int(row.argmax()), row.copy)
