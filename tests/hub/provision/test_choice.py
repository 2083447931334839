"""Which files of a repository make a model."""

import pytest

from hub.errors import ProvisionError
from hub.provision.choice import Choice, choose, quantization_of
from hub.provision.names import Source, check_file, check_repo, is_fetchable, name_for, parse_source
from hub.provision.repository import Listing, RepoFile

GB = 1_000_000_000


def _choose(*paths: str, file: str = "") -> Choice:
    return _fitting({path: len(path) for path in paths}, file=file)


def _fitting(sizes: dict[str, int], memory_bytes: int = 8 * GB, file: str = "") -> Choice:
    files = tuple(RepoFile(path=path, size_bytes=size, sha256="0" * 64) for path, size in sizes.items())
    listing = Listing(repo="maker/model", commit="abc", files=files)
    return choose(listing, Source("maker/model", file), memory_bytes=memory_bytes)


def _paths(choice: Choice) -> list[str]:
    return [file.path for file in choice.files]


BILLIONS_OF_8 = {
    "m-F16.gguf": 16 * GB,
    "m-Q2_K.gguf": 3 * GB,
    "m-Q8_0-00001-of-00002.gguf": 4 * GB,
    "m-Q8_0-00002-of-00002.gguf": 5 * GB,
    "m-Q4_K_M.gguf": 5 * GB,
    "m-Q6_K.gguf": 7 * GB,
    "mmproj-Q8_0.gguf": GB,
}
"""Files of a model with eight billion parameters, about."""


@pytest.mark.parametrize(
    ("memory_gb", "quantization", "files"),
    [(64, "Q8_0", 2), (18, "Q8_0", 2), (17, "Q6_K", 1), (13, "Q4_K_M", 1), (6, "Q2_K", 1), (5, "Q2_K", 1)],
)
def test_the_memory_decides_which_quantisation_is_taken(
    memory_gb: int, quantization: str, files: int
) -> None:
    """The best one that fits into half of it, all parts together; the smallest where none does."""
    choice = _fitting(BILLIONS_OF_8, memory_gb * GB)

    assert (choice.type, choice.quantization, len(choice.files)) == ("gguf", quantization, files)
    assert choice.reason.startswith(f"{quantization} was chosen")
    assert ("none fits" in choice.reason) == (memory_gb == 5)
    assert f"{memory_gb / 2:.1f} GB, half of the memory" in choice.reason


def test_what_is_not_quantised_comes_last() -> None:
    """It takes twice the room and says the same; where there is nothing else it is taken."""
    assert _choose("m-F16.gguf", "m-Q2_K.gguf").quantization == "Q2_K"
    assert _choose("m-F32.gguf", "m-BF16.gguf").quantization == "BF16"


def test_where_nothing_is_to_be_chosen_nothing_is_explained() -> None:
    """One quantisation, or one that was named."""
    assert _choose("m-Q4_0.gguf").reason == ""
    assert _fitting(BILLIONS_OF_8, GB, file="Q6_K").reason == ""


def test_an_incomplete_quantisation_is_passed_over() -> None:
    """Unless there is no other."""
    part = "m-Q8_0-00001-of-00002.gguf"

    assert _choose(part, "m-Q4_K_M.gguf").quantization == "Q4_K_M"
    with pytest.raises(ProvisionError, match="only 1 of 2 parts"):
        _choose(part)


def test_a_single_gguf_of_any_name_is_taken() -> None:
    """There is nothing to choose."""
    assert _choose("ggml-model.gguf", "README.md", "mmproj-f16.gguf").path == "ggml-model.gguf"


def test_a_quantisation_can_be_named() -> None:
    """In small letters, too."""
    assert _choose("m-Q4_K_M.gguf", "m.q8_0.gguf", file="q8_0").path == "m.q8_0.gguf"


def test_a_gguf_in_parts_comes_whole() -> None:
    """The first part is what is loaded."""
    parts = [f"Q8_0/m-Q8_0-0000{number}-of-00003.gguf" for number in (2, 3, 1)]
    choice = _choose(*parts, "Q8_0/n-Q8_0-00001-of-00002.gguf", file=parts[0])

    assert choice.path == parts[2]
    assert _paths(choice) == sorted(parts)
    with pytest.raises(ProvisionError, match="only 2 of 3 parts"):
        _choose(*parts[:2], file=parts[0])


def test_a_safetensors_model_comes_with_its_texts() -> None:
    """Weights, configuration, tokenizer and template of the folder; no other formats and no pictures."""
    wanted = ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    wanted += ["model.safetensors.index.json", "tokenizer.json", "tokenizer.model", "merges.txt"]
    wanted += ["chat_template.jinja"]
    choice = _choose(*wanted, "pytorch_model.bin", "logo.png", "onnx/model.onnx", "original/params.json")

    assert (choice.type, choice.path, _paths(choice)) == ("safetensors", "", wanted)


def test_an_onnx_folder_is_taken_whole() -> None:
    """The one for processors, where there are several."""
    inside = ["genai_config.json", "model.onnx", "model.onnx.data", "tokenizer.json"]
    paths = [f"{folder}/{name}" for folder in ("cuda/int4", "cpu/fp32", "cpu/int4") for name in inside]

    assert _choose(*paths).path == "cpu/int4"
    assert _choose(*paths, file="cuda").path == "cuda/int4"
    assert _paths(_choose(*paths, file="cpu/fp32")) == [f"cpu/fp32/{name}" for name in inside]


def test_what_there_is_is_told_where_nothing_fits() -> None:
    """So that the next attempt can name it."""
    with pytest.raises(ProvisionError, match=r"no one that fits best; there are: a\.gguf, b\.gguf"):
        _choose("b.gguf", "a.gguf")
    with pytest.raises(ProvisionError, match=r"no 'c\.gguf'; there are"):
        _choose("b.gguf", file="c.gguf")
    with pytest.raises(ProvisionError, match="neither GGUF, safetensors nor ONNX"):
        _choose("README.md")
    with pytest.raises(ProvisionError, match=r"model\.ckpt is not fetched: it is a Python pickle"):
        _choose("model.ckpt", "config.json")
    with pytest.raises(ProvisionError, match="name a GGUF file"):
        _choose("config.json", file="config.json")


@pytest.mark.parametrize(
    ("path", "quantization"),
    [
        ("Qwen2.5-1.5B-Instruct-Q4_K_M.gguf", "Q4_K_M"),
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1"),
        ("model-IQ2_XXS.gguf", "IQ2_XXS"),
        ("qwen2.5-0.5b-instruct-fp16.gguf", ""),
        ("m-bf16-00001-of-00002.gguf", "BF16"),
        ("ggml-model-f16.gguf", "F16"),
    ],
)
def test_a_quantisation_is_read_out_of_a_name(path: str, quantization: str) -> None:
    """As makers of GGUF files write it."""
    assert quantization_of(path) == quantization


@pytest.mark.parametrize(
    "path",
    [
        "a.bin",
        "a.pt",
        "a.pkl",
        "a.ckpt",
        "a.py",
        "a.safetensors.bin",
        "../a.gguf",
        "a.gguf\n",
        "a.so",
        "config.json.sh",
    ],
)
def test_only_weights_and_texts_are_fetched(path: str) -> None:
    """Nothing that runs code when it is opened."""
    assert not is_fetchable(path)


@pytest.mark.parametrize(
    "path",
    [
        "a.gguf",
        "a.safetensors",
        "b/a.onnx",
        "a.onnx.data",
        "a.onnx_data",
        "c.json",
        "tokenizer.model",
        "m.txt",
        "t.jinja",
    ],
)
def test_weights_and_texts_are_fetched(path: str) -> None:
    """Every kind that a model needs."""
    assert is_fetchable(path)


@pytest.mark.parametrize(
    "repo", ["", "a/b/c", "../a", "a/..", "a//b", "/a", "a b", "a/b:c", "a--b/c", "ä/b", "a/b\n"]
)
def test_names_that_are_no_repositories_are_refused(repo: str) -> None:
    """Before anybody is asked."""
    with pytest.raises(ProvisionError, match="is no repository"):
        check_repo(repo)


def test_a_source_is_read() -> None:
    """`REPO[:FILE]`."""
    assert parse_source("maker/model") == Source("maker/model")
    assert parse_source("maker/model:Q4_K_M") == Source("maker/model", "Q4_K_M")
    with pytest.raises(ProvisionError):
        parse_source("maker/model:a/../b")
    with pytest.raises(ProvisionError):
        check_file("/".join("abcdefghij"))


def test_names_for_the_registry_are_plain() -> None:
    """They are typed by people."""
    assert name_for("Qwen2.5-1.5B-Instruct-Q4_K_M.gguf") == "qwen2.5-1.5b-instruct-q4_k_m"
    assert name_for("m-Q8_0-00001-of-00003.gguf") == "m-q8_0"
    assert name_for("My Model (new)") == "my-model-new"
