"""Small models with random weights, for what does not depend on what a model says."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from engine.models.base import ChatMessage, ChatModel, End, GenerateOptions, Prompt, Text
from engine.models.transformers_model import TransformersChatModel
from hub.model_settings import SafetensorsSettings

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def llama_config(**changes: Any) -> LlamaConfig:
    """Describe a Llama of two layers with the bundled model's vocabulary."""
    sizes: dict[str, Any] = {
        "vocab_size": 49152,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "eos_token_id": 2,
        "bos_token_id": 1,
        "pad_token_id": 2,
        "tie_word_embeddings": False,
    }
    return LlamaConfig(**{**sizes, **changes})


def write_model(folder: Path, model: Any, tokenizer_from: Path) -> Path:
    """Save a model whose weights are large enough for each token to matter, with the bundled model's tokenizer."""
    torch.manual_seed(7)
    for weights in model.parameters():
        if weights.dim() > 1:
            torch.nn.init.normal_(weights, std=0.3)
    model.save_pretrained(folder)
    for name in TOKENIZER_FILES:
        shutil.copy(tokenizer_from / name, folder / name)
    return folder


def write_llama(folder: Path, tokenizer_from: Path) -> Path:
    """Save a small Llama."""
    return write_model(folder, LlamaForCausalLM(llama_config()), tokenizer_from)


def change_config(folder: Path, **changes: Any) -> None:
    """Change fields of a folder's `config.json`."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


async def load(folder: Path, **settings: Any) -> TransformersChatModel:
    """Load a model folder on one thread."""
    fields = {"context_length": 256, "threads": 1, "profile": "smollm2", "device": "cpu", **settings}
    return await TransformersChatModel.load(
        "tiny", SafetensorsSettings(type="safetensors", path=str(folder), **fields)
    )


async def ask(model: ChatModel, text: str, max_tokens: int = 10, **options: Any) -> tuple[str, End]:
    """Return an answer and how it ended."""
    prompt = Prompt(messages=(ChatMessage(role="user", text=text),))
    said, end = "", None
    async for event in model.stream(prompt, GenerateOptions(max_tokens=max_tokens, **options)):
        if isinstance(event, Text):
            said += event.text
        elif isinstance(event, End):
            end = event
    assert end is not None
    return said, end


async def say(model: ChatModel, text: str, max_tokens: int = 10, **options: Any) -> str:
    """Return the text of an answer."""
    return (await ask(model, text, max_tokens, **options))[0]
