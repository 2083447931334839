"""Makes the bundled model anew in other formats: `python -m tests.converted FOLDER`.

In a process of its own, because the libraries that convert take much memory and warn of each other.
"""

import functools
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

from engine.models.llama.files import bundled_file


def convert(folder: Path) -> None:
    """Write the bundled model to `safetensors` and `onnx` in a folder, with weights of 32 bits."""
    subprocess.run(
        [sys.executable, "-m", "tests.converted", str(folder)],
        check=True,
        capture_output=True,
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1", "HOME": str(folder)},
        timeout=280,
    )


def _to_safetensors(target: Path) -> None:
    import gguf  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    # transformers opens the file three times, and makes the same table of names for each tensor.
    gguf.GGUFReader = functools.cache(gguf.GGUFReader)  # type: ignore[assignment,misc]
    gguf.get_tensor_name_map = functools.cache(gguf.get_tensor_name_map)
    path = bundled_file()
    source: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True}
    model: Any = AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, **source)
    # It remembers that it was quantised, and would not be saved.
    model.hf_quantizer = None
    del model.config.quantization_config
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(path.parent, **source).save_pretrained(target)
    _split_digits(target / "tokenizer.json")


def _split_digits(path: Path) -> None:
    """Say that each digit is a token, which the conversion leaves out."""
    fields = json.loads(path.read_text("utf-8"))
    digits = {"type": "Digits", "individual_digits": True}
    fields["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, fields["pre_tokenizer"]]}
    path.write_text(json.dumps(fields), "utf-8")


def _to_onnx(source: Path, target: Path) -> None:
    words = {"-i": source, "-o": target, "-p": "fp32", "-e": "cpu", "-c": target / "cache"}
    sys.argv = ["builder", *(str(word) for pair in words.items() for word in pair)]
    runpy.run_module("onnxruntime_genai.models.builder", run_name="__main__")


if __name__ == "__main__":
    root = Path(sys.argv[1])
    _to_safetensors(root / "safetensors")
    _to_onnx(root / "safetensors", root / "onnx")
