"""The bundled model in three formats: what it says is the same."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.models.base import ChatModel
from engine.models.llama.model import LlamaChatModel
from engine.models.onnx_model import OnnxChatModel
from engine.models.transformers_model import TransformersChatModel
from hub.errors import ModelError, OptionRefused
from hub.model_settings import AdapterSettings, GgufSettings, OnnxSettings, SafetensorsSettings
from tests.engine.models.formats.small import ask, say

QUESTIONS = {"Name three colours.": 12, "What is the capital of France?": 9, "How do I boil an egg?": 9}
"""And how many tokens of each answer do not depend on rounding: llama.cpp computes with integers of 8 bits."""


def _safetensors(converted: Path, **settings: object) -> SafetensorsSettings:
    path = str(converted / "safetensors")
    return SafetensorsSettings.model_validate(
        {"type": "safetensors", "path": path, "context_length": 512, "profile": "smollm2", **settings}
    )


def _onnx(folder: Path, **settings: object) -> OnnxSettings:
    return OnnxSettings.model_validate(
        {"type": "onnx", "path": str(folder), "context_length": 512, "profile": "smollm2", **settings}
    )


async def _answers(model: ChatModel) -> list[str]:
    said = await asyncio.gather(*(say(model, text, length) for text, length in QUESTIONS.items()))
    await model.close()
    return list(said)


async def test_all_formats_answer_alike(converted: Path) -> None:
    """The likeliest answers of the GGUF file, of safetensors and of ONNX are one."""
    gguf = await LlamaChatModel.load("gguf", GgufSettings(context_length=512))
    expected = await _answers(gguf)

    assert (
        await _answers(await TransformersChatModel.load("safetensors", _safetensors(converted))) == expected
    )
    assert await _answers(await OnnxChatModel.load("onnx", _onnx(converted / "onnx"))) == expected
    assert "Paris" in expected[1]


async def test_int8_answers_alike(converted: Path) -> None:
    """Weights of 8 bits change little."""
    model = await TransformersChatModel.load("int8", _safetensors(converted, quantization="int8"))

    assert await say(model, "What is the capital of France?", 9) == "The capital of France is Paris."
    await model.close()


async def test_numbers_of_16_bits_answer_alike(converted: Path) -> None:
    """They change little as well, and take half the memory."""
    settings = _safetensors(converted, device="cpu", dtype="bfloat16")
    model = await TransformersChatModel.load("bfloat16", settings)
    stored = (converted / "safetensors" / "model.safetensors").stat().st_size

    assert await say(model, "What is the capital of France?", 9) == "The capital of France is Paris."
    assert 0.45 < (await model.statistics()).memory_bytes / stored < 0.6
    await model.close()


async def test_onnx_keeps_to_options(converted: Path) -> None:
    """Seeds, biases, stop strings and refusals are those of the other types."""
    model = await OnnxChatModel.load("onnx", _onnx(converted / "onnx", parallel=2))
    drawn = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}

    first, again, other = await asyncio.gather(
        *(say(model, "Name a colour.", 8, seed=seed, **drawn) for seed in (1, 1, 2))
    )
    biased, end = await ask(model, "Speak.", 6, logit_bias=((504, 1000.0),), stop=("TheTheThe",))

    assert first == again != other
    assert (biased, end.reason, end.answer_tokens) == ("", "stop", 3)
    with pytest.raises(OptionRefused, match="GGUF"):
        await say(model, "Speak.", 4, grammar='root ::= "a"')
    await model.close()


async def test_long_prompts_are_read_in_parts(converted: Path) -> None:
    """Others go on between the parts, and the answer is the same."""
    model = await OnnxChatModel.load("onnx", _onnx(converted / "onnx"))
    long = "word " * 150 + "What is the capital of France?"
    alone = await say(model, long, 5)

    together = await asyncio.gather(say(model, "Name three colours.", 5), say(model, long, 5))

    assert together[1] == alone
    await model.close()


async def test_unusable_onnx_folders_are_refused(converted: Path, tmp_path: Path) -> None:
    """The error says what is missing."""
    with pytest.raises(ModelError, match=r"genai_config\.json"):
        await OnnxChatModel.load("onnx", _onnx(tmp_path))
    adapters = (AdapterSettings(path="a"),)
    with pytest.raises(ModelError, match="take no adapters"):
        await OnnxChatModel.load("onnx", _onnx(converted / "onnx", adapters=adapters))
    for name in ("genai_config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((converted / "onnx" / name).read_bytes())
    with pytest.raises(ModelError, match="cannot be loaded"):
        await OnnxChatModel.load("onnx", _onnx(tmp_path))


async def test_a_missing_onnx_package_is_named(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error tells what to install."""
    monkeypatch.setitem(sys.modules, "onnxruntime_genai", None)
    monkeypatch.delitem(sys.modules, "engine.models.onnx_computer", raising=False)

    with pytest.raises(ModelError, match=r"-e '\.\[onnx\]'"):
        await OnnxChatModel.load("onnx", _onnx(converted / "onnx"))


def test_onnx_libraries_keep_no_record(converted: Path, tmp_path: Path) -> None:
    """They would write down how they are used, to send it to their maker."""
    program = (
        "import asyncio; from engine.models.onnx_model import OnnxChatModel; "
        "from hub.model_settings import OnnxSettings; "
        f"s = OnnxSettings(type='onnx', path={str(converted / 'onnx')!r}, profile='smollm2'); "
        "asyncio.run(OnnxChatModel.load('small', s))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}

    subprocess.run([sys.executable, "-c", program], check=True, env={**environment, "HOME": str(tmp_path)})

    assert list(tmp_path.iterdir()) == []
