"""Settings of the models: one table for each entry of the registry, by its type."""

import os
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]

BUNDLED_MODEL = "smollm2-135m"
HUGGING_FACE = "https://huggingface.co"
WAITING_CONTEXTS = 16
"""So many contexts full of tokens may wait for a model: on two cores a few of them are computed in a minute."""


MemorySize = Annotated[str, Field(pattern=r"(?i)^\s*(\d+(\.\d+)?\s*[kmgt]?i?b?)?\s*$")]
"""Such as "8GB", "512 MiB" or "1073741824"."""
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def bytes_of(size: str) -> int:
    """Read a memory size; units are powers of 1024, and an empty text is 0."""
    number = size.strip().lower().removesuffix("b").removesuffix("i").strip()
    if not number:
        return 0
    unit = number[-1] if number[-1] in _UNITS else ""
    return int(float(number.removesuffix(unit)) * 1024 ** _UNITS[unit])


class Table(BaseModel):
    """Base of every settings table: frozen, and a misspelt name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AdapterSettings(Table):
    """A LoRA adapter on top of a model's weights."""

    path: str
    """GGUF file, or for safetensors a folder as peft saves it."""
    scale: float = 1.0


class AnyModelSettings(Table):
    """What every entry of the registry has."""

    context_length: Annotated[int, Field(ge=0)]
    """Tokens of prompt and answer together."""
    profile: str = ""
    """Prompt profile: system text, worked examples and stop strings. Empty: `smollm2` for the bundled model, else
    `general`."""
    fallbacks: tuple[str, ...] = ()
    """Models that answer, in this order, when this one cannot be loaded or fails before its first word."""


class LocalModelSettings(AnyModelSettings):
    """What every model that runs on this machine has."""

    context_length: Annotated[int, Field(ge=0)] = 0
    """Tokens of prompt and answer together. 0 is chosen: what the model was made for as far as memory allows, at most
    8,192, and 2,048 for the bundled model."""
    sha256: str = ""
    """Of the file, or of the folder's largest file; checked when the model is loaded; empty is not checked."""
    threads: Annotated[int, Field(ge=0)] = 0
    """0: one for each physical core."""
    parallel: Annotated[int, Field(ge=0, le=256)] = 0
    """Requests computed at once; 0 is chosen by the memory of this machine."""
    waiting_tokens: Annotated[int, Field(ge=0)] = 0
    """Tokens of prompts and their answers that may wait for this model; whoever comes with more is asked to come
    again. 0: as many as fit into sixteen of its contexts."""
    max_memory: MemorySize = ""
    """Such as "8GB"; a model that would take more is not loaded. Empty: no limit of its own."""
    adapters: tuple[AdapterSettings, ...] = ()

    @property
    def most_waiting_tokens(self) -> int:
        """The limit of `waiting_tokens` as it holds, once the context is chosen."""
        return self.waiting_tokens or WAITING_CONTEXTS * self.context_length


class GgufSettings(LocalModelSettings):
    """A GGUF file, run by llama.cpp."""

    type: Literal["gguf"] = "gguf"
    path: str = ""
    """Model file; empty means the bundled one."""
    base: str = ""
    """Another model of this type whose loaded weights are used instead of a file: for adapters on one base."""
    gpu_layers: Annotated[int, Field(ge=-1)] = -1
    """Layers computed by a GPU, where llama.cpp was built with one; -1 is all of them."""
    kv_type: Literal["f16", "q8_0"] = "f16"
    """How the context is kept: `q8_0` takes half the memory."""
    batch_tokens: Annotated[int, Field(ge=0)] = 0
    """Tokens computed in one step; 0 is chosen for this machine."""
    quantization: str = ""
    """What the file is said to hold, such as "Q4_K_M"; shown, never computed with."""


class SafetensorsSettings(LocalModelSettings):
    """A folder with a Hugging Face model, run by transformers."""

    type: Literal["safetensors"]
    path: str = ""
    base: str = ""
    """Another model of this type whose loaded weights are used instead of a folder: for adapters on one base."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:1`."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    quantization: Literal["", "int8", "8bit", "4bit"] = ""
    """`int8` on a CPU, `8bit` and `4bit` by bitsandbytes on CUDA."""
    trusted_code_sha256: str = ""
    """Lets this model run the Python code of its folder: the sum that the refusal shows, over all its .py files."""

    @model_validator(mode="after")
    def _has_weights(self) -> Self:
        if not (self.path or self.base):
            raise ValueError("path is needed, or base")
        return self


class OnnxSettings(LocalModelSettings):
    """A folder with an ONNX model and its `genai_config.json`, run by onnxruntime-genai."""

    type: Literal["onnx"]
    path: str
    quantization: str = ""
    """What the folder is said to hold; shown, never computed with."""


class RemoteSettings(AnyModelSettings):
    """A model that another server runs, by the OpenAI-compatible protocol: Ollama, vLLM, llama-server, Ray Serve."""

    type: Literal["remote"]
    context_length: Count = 2048
    base_urls: Annotated[tuple[str, ...], Field(min_length=1)]
    """Endpoints of the same model, such as "http://127.0.0.1:11434/v1"; the next is tried when one fails."""
    model: str
    """Its name there."""
    api_key: SecretStr = SecretStr("")
    connect_timeout_s: Seconds = 5.0
    first_token_timeout_s: Seconds = 60.0
    stall_timeout_s: Seconds = 30.0
    """Longest silence between two pieces of an answer."""
    attempts: Count = 2
    """On each endpoint, as long as no text has come."""


ModelSettings = Annotated[
    GgufSettings | SafetensorsSettings | OnnxSettings | RemoteSettings, Field(discriminator="type")
]


class ProvisionSettings(Table):
    """Where models are fetched from, and where they are kept."""

    endpoint: str = ""
    """A Hugging Face style hub; empty: what `HF_ENDPOINT` says, else huggingface.co."""
    token: SecretStr = SecretStr("")
    """For the hub; empty: what `HF_TOKEN` says, unless `endpoint` is set."""
    ollama_url: str = "http://127.0.0.1:11434"
    """An Ollama server whose models can be pulled and listed."""
    max_file_bytes: Count = 200_000_000_000

    @property
    def hub_url(self) -> str:
        """The hub that is asked: the settings' own, else that of the environment, as other programs read it."""
        return self.endpoint or os.environ.get("HF_ENDPOINT", "").strip() or HUGGING_FACE

    @property
    def hub_token(self) -> SecretStr:
        """The token for that hub; the one of the environment is not shown to a hub that only the settings name."""
        if self.endpoint or self.token.get_secret_value():
            return self.token
        return SecretStr(os.environ.get("HF_TOKEN", "").strip())


class RoleSettings(Table):
    """Which model answers to a role's name; empty: `engine.model`."""

    general: str = ""
    coding: str = ""


def with_types(models: Any) -> Any:
    """Give tables without a type the type `gguf`, and keep the bundled model among them."""
    if not isinstance(models, dict):
        return models
    typed = {
        name: {"type": "gguf", **table} if isinstance(table, dict) else table
        for name, table in models.items()
    }
    return {BUNDLED_MODEL: GgufSettings(), **typed}
