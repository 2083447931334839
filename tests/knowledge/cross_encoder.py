"""A cross-encoder for tests: real weights, tiny, that reads question and passage together."""

import shutil
from pathlib import Path
from typing import Any

from hub.settings import KnowledgeSettings
from knowledge.embedder import Embedder
from knowledge.imports import import_sentence_transformers

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json")


def make_cross_encoder(folder: Path, *, seed: int = 1) -> None:
    """Write a BERT with one layer and random weights, and the bundled model's tokenizer, into a folder."""
    import_sentence_transformers()
    import torch  # noqa: PLC0415 - after its environment was prepared
    from transformers import BertConfig, BertForSequenceClassification  # noqa: PLC0415

    folder.mkdir(parents=True)
    embedder = Embedder(KnowledgeSettings())
    for name in TOKENIZER_FILES:
        if (embedder.folder / name).is_file():
            shutil.copy(embedder.folder / name, folder / name)
    embedder.close()
    torch.manual_seed(seed)
    make_configuration: Any = BertConfig
    configuration = make_configuration(
        vocab_size=30_522,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
        num_labels=1,
        initializer_range=0.2,
    )
    model: Any = BertForSequenceClassification(configuration)
    model.save_pretrained(folder)
