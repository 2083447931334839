"""What is read of a model's folder, and what is refused rather than computed wrongly."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hub.errors import KnowledgeError
from knowledge.embedder import Embedder
from knowledge.runtimes.bert_folder import read_bert


@pytest.fixture
def copied(embedder: Embedder, tmp_path: Path) -> Path:
    """Give a copy of the bundled model's folder, without its weights' bytes."""
    return Path(
        shutil.copytree(
            embedder.folder,
            tmp_path / "model",
            copy_function=lambda source, target: Path(target).write_bytes(
                b"" if source.endswith(".safetensors") else Path(source).read_bytes()
            ),
        )
    )


def change(file: Path, **fields: Any) -> None:
    """Change fields of a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_the_bundled_model_is_understood(embedder: Embedder) -> None:
    """Everything that its vectors depend on is read of its files."""
    bert = read_bert(embedder.folder)

    assert (bert.layers, bert.heads, bert.dimension) == (6, 12, 384)
    assert (bert.epsilon, bert.pad_id, bert.max_tokens, bert.pooling) == (1e-12, 0, 256, "mean")


def test_both_ways_to_write_the_pooling_are_read(copied: Path) -> None:
    """Older versions of sentence-transformers write a field for each kind, newer ones one name."""
    pooling = copied / "1_Pooling" / "config.json"

    change(pooling, pooling_mode_mean_tokens=False, pooling_mode_cls_token=True)
    assert read_bert(copied).pooling == "cls"
    pooling.write_text('{"pooling_mode": "cls", "embedding_dimension": 384}')
    assert read_bert(copied).pooling == "cls"


@pytest.mark.parametrize("written", [0, None, 4096])
def test_no_more_tokens_are_read_than_there_are_places(copied: Path, written: int | None) -> None:
    """What is not said, or said too large, is what the weights have room for."""
    change(copied / "sentence_bert_config.json", max_seq_length=written)

    assert read_bert(copied).max_tokens == 512


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: change(folder / "config.json", model_type="roberta"), "model_type"),
        (lambda folder: change(folder / "config.json", hidden_act="gelu_new"), "hidden_act"),
        (
            lambda folder: change(folder / "config.json", position_embedding_type="relative_key"),
            "position_embedding_type",
        ),
        (lambda folder: change(folder / "config.json", num_hidden_layers="six"), "six"),
        (lambda folder: change(folder / "config.json", layer_norm_eps=None), "float"),
        (lambda folder: (folder / "config.json").write_text("{}"), "model_type"),
        (lambda folder: (folder / "config.json").write_text("[]"), "indices"),
        (lambda folder: (folder / "config.json").write_bytes(b"\xff{"), "decode"),
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        (lambda folder: change(folder / "sentence_bert_config.json", do_lower_case=True), "do_lower_case"),
        (
            lambda folder: change(folder / "config_sentence_transformers.json", default_prompt_name="query"),
            "default_prompt_name",
        ),
        (
            lambda folder: change(folder / "1_Pooling" / "config.json", pooling_mode_max_tokens=True),
            "pooling_mode",
        ),
        (lambda folder: (folder / "1_Pooling" / "config.json").write_text("{}"), "pooling_mode"),
        (
            lambda folder: (folder / "modules.json").write_text(
                '[{"type": "sentence_transformers.models.Transformer", "path": ""}]'
            ),
            "modules",
        ),
        (
            lambda folder: (folder / "modules.json").write_text(
                json.dumps(
                    [
                        *json.loads((folder / "modules.json").read_text()),
                        {"type": "sentence_transformers.models.Dense", "path": "3_Dense"},
                    ]
                )
            ),
            "Dense",
        ),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors"),
    ],
)
def test_another_kind_of_model_is_refused(copied: Path, damage: Callable[[Path], object], said: str) -> None:
    """The error names what was expected, and what computes the model all the same."""
    damage(copied)

    with pytest.raises(KnowledgeError, match='embedding_runtime = "torch"') as raised:
        read_bert(copied)

    assert said in str(raised.value)
