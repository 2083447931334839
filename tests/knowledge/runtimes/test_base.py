"""Which runtime computes a model, known before anything is loaded."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hub.errors import KnowledgeError
from hub.settings import KnowledgeSettings
from knowledge.embedder import Embedder
from knowledge.runtimes import base
from knowledge.runtimes.onnx_runtime import OnnxRuntime
from knowledge.runtimes.torch_runtime import TorchRuntime


@pytest.mark.parametrize(
    ("wanted", "custom", "found"),
    [
        ("auto", False, OnnxRuntime),
        ("auto", True, TorchRuntime),
        ("torch", False, TorchRuntime),
        ("torch", True, TorchRuntime),
        ("onnx", False, OnnxRuntime),
        ("onnx", True, OnnxRuntime),
    ],
)
def test_settings_choose_the_runtime(embedder: Embedder, wanted: str, custom: bool, found: type) -> None:
    """Only what was measured is chosen by itself, and the model's name tells the runtimes apart."""
    settings = KnowledgeSettings.model_validate(
        {
            "embedding_runtime": wanted,
            "embedding_model": str(embedder.folder) if custom else "",
        }
    )
    chosen = Embedder(settings)

    loaded = chosen.start().result()

    chosen.close()
    assert type(loaded) is found
    assert chosen.model.endswith("+int8") == (found is OnnxRuntime)


@pytest.mark.parametrize("wanted", ["auto", "onnx"])
@pytest.mark.parametrize("package", base.ONNX_PACKAGES)
def test_without_its_packages_pytorch_computes(
    monkeypatch: pytest.MonkeyPatch, wanted: str, package: str
) -> None:
    """A smaller install works, and says once what is missing."""
    monkeypatch.setattr(base, "find_spec", lambda name: None if name == package else find_spec(name))

    with capture_logs() as logs:
        fallback = Embedder(KnowledgeSettings.model_validate({"embedding_runtime": wanted}))
        assert type(fallback.start().result()) is TorchRuntime

    fallback.close()
    assert not fallback.model.endswith("+int8")
    assert [entry["packages"] for entry in logs if entry["event"] == "onnx_runtime_missing"] == [[package]]


def test_a_model_that_onnx_runtime_cannot_compute_is_an_error_at_once(tmp_path: Path) -> None:
    """Who asks for a runtime gets it, or learns why not before anything is loaded."""
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "tokenizer.json").write_text("{}")

    with pytest.raises(KnowledgeError, match=r"cannot be computed by ONNX Runtime.*config\.json"):
        Embedder(KnowledgeSettings(embedding_model=str(tmp_path), embedding_runtime="onnx"))
