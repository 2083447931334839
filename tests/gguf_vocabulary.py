"""Makes small vocabularies in the manner of SentencePiece, with the special tokens of some family."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.gguf_files import Value, write_gguf

_NORMAL, _UNKNOWN, _CONTROL, _DEFINED, _BYTE = 1, 2, 3, 4, 6
_WORDS = ("Hello", "world", "Be", "brief", "INST", "user", "assistant")


def write_vocabulary(
    path: Path,
    *,
    special: Sequence[str] = (),
    defined: Sequence[str] = (),
    template: str = "",
    adds_bos: bool = True,
    adds_space: bool = True,
    weights_seed: int | None = None,
) -> Path:
    """Write a file: `<unk>`, `<s>`, `</s>`, all bytes, letters, a few words, and special tokens.

    Args:
        weights_seed: of random weights, which make it a model of two layers; None: a vocabulary alone.
    """
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [_UNKNOWN, _CONTROL, _CONTROL, *[_BYTE] * 256]
    # A longer token is likelier, so that words are put together; "▁" stands for a space.
    pieces = {"▁", *(chr(code) for code in range(33, 127))}
    for word in _WORDS:
        for text in (word, f"▁{word}"):
            pieces |= {text[:end] for end in range(1, len(text) + 1)}
    normal = sorted(pieces, key=lambda piece: (-len(piece), piece))
    tokens += [*normal, *special, *defined]
    kinds += [*[_NORMAL] * len(normal), *[_CONTROL] * len(special), *[_DEFINED] * len(defined)]
    scores = [0.0] * 259 + [-float(rank) for rank in range(len(normal))]
    scores += [0.0] * (len(special) + len(defined))
    metadata: dict[str, Value] = {
        "general.architecture": "llama",
        "llama.block_count": 2,
        "llama.context_length": 512,
        "llama.embedding_length": 64,
        "llama.feed_forward_length": 64,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_bos_token": adds_bos,
        "tokenizer.ggml.add_space_prefix": adds_space,
    }
    if template:
        metadata["tokenizer.chat_template"] = template
    return write_gguf(path, metadata, {} if weights_seed is None else _weights(len(tokens), weights_seed))


def _weights(tokens: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """Draw the weights of a Llama, large enough for each token to matter."""
    chance = np.random.default_rng(seed)

    def drawn(*shape: int) -> NDArray[np.float32]:
        return chance.normal(0, 0.3, shape).astype(np.float32)

    one = np.ones(64, np.float32)
    weights = {
        "token_embd.weight": drawn(tokens, 64),
        "output.weight": drawn(tokens, 64),
        "output_norm.weight": one,
    }
    for layer in range(2):
        # Half as many heads have keys and values.
        heights = {"attn_q": 64, "attn_k": 32, "attn_v": 32, "attn_output": 64}
        heights |= {"ffn_gate": 64, "ffn_up": 64, "ffn_down": 64}
        weights |= {f"blk.{layer}.{name}.weight": drawn(height, 64) for name, height in heights.items()}
        weights |= {f"blk.{layer}.{name}.weight": one for name in ("attn_norm", "ffn_norm")}
    return weights
