"""Computes a BERT model by ONNX Runtime with whole numbers of 8 bits; PyTorch is not even imported.

The graph is written anew at each start, from the weights whose hash the embedder has compared: it takes less time than
to check a file that was kept.
"""

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from knowledge.passages import Vectors
from knowledge.runtimes.bert_folder import WEIGHTS, BertFolder
from knowledge.runtimes.bert_graph import HIDDEN, IDS, MASK, bert_graph

_CPU_FLAGS = Path("/proc/cpuinfo")
_SIGNED_FLAGS = frozenset({"avx512_vnni", "avx_vnni"})


class OnnxRuntime:
    """A session of ONNX Runtime and the model's tokenizer."""

    def __init__(self, bert: BertFolder, session: Any, tokenizer: Any) -> None:
        self.dimension = bert.dimension
        self._pooling = bert.pooling
        self._session = session
        self._tokenizer = tokenizer

    @classmethod
    def open(cls, bert: BertFolder, *, cores: int, signed: bool | None = None) -> "OnnxRuntime":
        """Load a model.

        Args:
            cores: to compute with, 0 for all.
            signed: how the weights are kept, see `bert_graph`; None: as this processor is fastest.
        """
        # The tokenizer's threads would warn about, or hang after, every fork of this process.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        # It would note how it is used and tell its maker.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        runtime = import_module("onnxruntime")
        runtime.disable_telemetry_events()
        tokenizer = import_module("tokenizers").Tokenizer.from_file(str(bert.folder / "tokenizer.json"))
        tokenizer.enable_truncation(bert.max_tokens)
        tokenizer.enable_padding(pad_id=bert.pad_id)
        weights = load_file(bert.folder / WEIGHTS)
        graph = bert_graph(bert, weights, signed=multiplies_signed() if signed is None else signed)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = cores
        options.inter_op_num_threads = 1
        # Cores that wait for each other shall sleep: the hub has other work for them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Every batch is of another length: plans for memory that are kept for all of them only grow.
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        session = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return cls(bert, session, tokenizer)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """See `Runtime`."""
        encodings = self._tokenizer.encode_batch(list(texts))
        ids = np.array([encoding.ids for encoding in encodings], np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], np.int32)
        (hidden,) = self._session.run([HIDDEN], {IDS: ids, MASK: mask})
        if self._pooling == "cls":
            pooled = hidden[:, 0]
        else:
            # Divided by the count of tokens or not, the direction is the same.
            pooled = np.einsum("btd,bt->bd", hidden, mask.astype(np.float32))
        vectors: Vectors = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return vectors


def multiplies_signed() -> bool:
    """Tell whether this processor multiplies bytes by signed bytes without overflow.

    Older ones of x86 add two products in 16 bits, which overflows; unsigned ones they widen before.
    """
    try:
        flags = _CPU_FLAGS.read_text("utf-8", "replace").partition("flags")[2].partition("\n")[0]
    except OSError:
        return False
    return not _SIGNED_FLAGS.isdisjoint(flags.split())
