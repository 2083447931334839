"""Reads what a sentence-transformers folder says of a BERT model: all that is needed to compute it without PyTorch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hub.errors import KnowledgeError

WEIGHTS = "model.safetensors"
_TRANSFORMER, _POOLING, _NORMALIZE = "Transformer", "Pooling", "Normalize"


@dataclass(frozen=True, slots=True, kw_only=True)
class BertFolder:
    """A BERT model whose vectors are the mean of its tokens, or that of the first one."""

    folder: Path
    layers: int
    heads: int
    dimension: int
    epsilon: float
    """What the variance gets added in layer normalisation."""
    pad_id: int
    max_tokens: int
    """What is beyond is not read."""
    pooling: Literal["mean", "cls"]


def read_bert(folder: Path) -> BertFolder:
    """Read a folder.

    Raises: KnowledgeError: it holds another kind of model, or one whose steps are not all known here.
    """
    try:
        return _read(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else error
        raise KnowledgeError(
            f'embedding model {folder} cannot be computed by ONNX Runtime; knowledge.embedding_runtime = "torch" can: '
            f"{said}"
        ) from error


def _read(folder: Path) -> BertFolder:
    config, modules = _json(folder / "config.json"), _json(folder / "modules.json")
    _expect("model_type", config["model_type"], "bert")
    _expect("hidden_act", config["hidden_act"], "gelu")
    _expect("position_embedding_type", config.get("position_embedding_type", "absolute"), "absolute")
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    _expect("modules", [kind for kind in kinds if kind != _NORMALIZE], [_TRANSFORMER, _POOLING])
    transformer = _json(folder / str(modules[0]["path"]) / "sentence_bert_config.json")
    _expect("do_lower_case", transformer.get("do_lower_case", False), False)
    _expect("default_prompt_name", _prompts(folder).get("default_prompt_name"), None)
    if not (folder / WEIGHTS).is_file():
        raise ValueError(f"expected {WEIGHTS}")
    positions = int(config["max_position_embeddings"])
    return BertFolder(
        folder=folder,
        layers=int(config["num_hidden_layers"]),
        heads=int(config["num_attention_heads"]),
        dimension=int(config["hidden_size"]),
        epsilon=float(config["layer_norm_eps"]),
        pad_id=int(config.get("pad_token_id") or 0),
        max_tokens=min(int(transformer.get("max_seq_length") or positions), positions),
        pooling=_pooling(_json(folder / str(modules[1]["path"]) / "config.json")),
    )


def _pooling(config: dict[str, Any]) -> Literal["mean", "cls"]:
    # Before its version 6 sentence-transformers wrote a field for each kind.
    older = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    known = [config["pooling_mode"]] if "pooling_mode" in config else []
    known += [older.get(name, name) for name, on in config.items() if name.startswith("pooling_mode_") and on]
    if known == ["mean"]:
        return "mean"
    _expect("pooling_mode", known, ["cls"])
    return "cls"


def _prompts(folder: Path) -> dict[str, Any]:
    file = folder / "config_sentence_transformers.json"
    found: dict[str, Any] = _json(file) if file.is_file() else {}
    return found


def _json(file: Path) -> Any:
    return json.loads(file.read_text("utf-8"))


def _expect(name: str, found: object, expected: object) -> None:
    if found != expected:
        raise ValueError(f"expected {name} to be {expected!r}, found {found!r}")
