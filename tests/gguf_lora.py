"""Makes LoRA adapters for the bundled model, with weights that are known."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.gguf_files import Value, write_gguf

_WIDTH = 576
"""Of the bundled model."""
_LAYERS = (0, 10, 29)


@dataclass(frozen=True, slots=True)
class Lora:
    """Two matrices for each layer: what is added to the query weights is `b @ a`."""

    matrices: Mapping[int, tuple[NDArray[np.float32], NDArray[np.float32]]]

    @classmethod
    def random(cls, seed: int, rank: int = 4, size: float = 0.05) -> "Lora":
        """Draw an adapter."""
        chance = np.random.default_rng(seed)
        return cls(
            {
                layer: (
                    chance.normal(0, size, (rank, _WIDTH)).astype(np.float32),
                    chance.normal(0, size, (_WIDTH, rank)).astype(np.float32),
                )
                for layer in _LAYERS
            }
        )

    def __add__(self, other: "Lora") -> "Lora":
        """Return the adapter that adds what both add."""
        return Lora(
            {
                layer: (np.vstack([a, other.matrices[layer][0]]), np.hstack([b, other.matrices[layer][1]]))
                for layer, (a, b) in self.matrices.items()
            }
        )

    def write(self, path: Path, *, architecture: str = "llama", kind: str = "adapter") -> Path:
        """Write it as llama.cpp's converter would; alpha is the rank, so that nothing is scaled."""
        rank = next(iter(self.matrices.values()))[0].shape[0]
        metadata: dict[str, Value] = {
            "general.type": kind,
            "general.architecture": architecture,
            "adapter.type": "lora",
            "adapter.lora.alpha": float(rank),
        }
        tensors = {}
        for layer, (a, b) in self.matrices.items():
            tensors[f"blk.{layer}.attn_q.weight.lora_a"] = a
            tensors[f"blk.{layer}.attn_q.weight.lora_b"] = b
        return write_gguf(path, metadata, tensors)
