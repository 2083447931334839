"""Makes LoRA adapters for the bundled model, with weights that are known."""

import json
from collections.abc import Mapping, Sequence
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
    def random(cls, seed: int, rank: int = 4, size: float = 0.05, layers: Sequence[int] = _LAYERS) -> "Lora":
        """Draw an adapter."""
        chance = np.random.default_rng(seed)
        return cls(
            {
                layer: (
                    chance.normal(0, size, (rank, _WIDTH)).astype(np.float32),
                    chance.normal(0, size, (_WIDTH, rank)).astype(np.float32),
                )
                for layer in layers
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

    def write_peft(self, folder: Path) -> Path:
        """Write it as peft would, for the model as transformers has it."""
        # Large, and not needed where nothing but GGUF files is written.
        import torch  # noqa: PLC0415
        from safetensors.torch import save_file  # noqa: PLC0415

        folder.mkdir()
        rank = next(iter(self.matrices.values()))[0].shape[0]
        config = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "r": rank,
            "lora_alpha": rank,
            "target_modules": ["q_proj"],
            "layers_to_transform": list(self.matrices),
        }
        (folder / "adapter_config.json").write_text(json.dumps(config))
        tensors = {}
        for layer, (a, b) in self.matrices.items():
            name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
            tensors[f"{name}.lora_A.weight"] = torch.from_numpy(a)
            tensors[f"{name}.lora_B.weight"] = torch.from_numpy(b)
        save_file(tensors, folder / "adapter_model.safetensors")
        return folder
