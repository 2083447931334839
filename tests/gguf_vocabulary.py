"""Makes small vocabularies in the manner of SentencePiece, with the special tokens of some family."""

from collections.abc import Sequence
from pathlib import Path

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
) -> Path:
    """Write a file without weights: `<unk>`, `<s>`, `</s>`, all bytes, letters, a few words, and special tokens."""
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
    return write_gguf(path, metadata, {})
