"""What a folder must hold to be loaded as a safetensors model, and what is refused."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from engine.models.hf_folder import code_sum
from hub.errors import ContextWindowExceeded, ModelError
from tests.engine.models.formats.small import change_config, load, say

CONFIGURATION = """
from transformers import LlamaConfig


class KonkanConfig(LlamaConfig):
    model_type = "konkan"
"""
MODEL = """
from torch import nn
from transformers import GenerationMixin, LlamaModel, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_konkan import KonkanConfig


class KonkanForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = KonkanConfig

    def __init__(self, config):
        super().__init__(config)
        self.body = LlamaModel(config)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, position_ids=None, past_key_values=None, use_cache=None,
                return_dict=None):
        output = self.body(input_ids, attention_mask=attention_mask, position_ids=position_ids,
                           past_key_values=past_key_values, use_cache=use_cache)
        return CausalLMOutputWithPast(logits=self.head(output.last_hidden_state),
                                      past_key_values=output.past_key_values)
"""
UNCACHED = MODEL.replace(
    ", position_ids=None, past_key_values=None, use_cache=None,\n                return_dict=None", ""
).replace(
    "output = self.body(input_ids, attention_mask=attention_mask, position_ids=position_ids,\n"
    "                           past_key_values=past_key_values, use_cache=use_cache)",
    "output = self.body(input_ids, use_cache=False)",
)


def _copied(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target))


def _with_code(source: Path, target: Path, model: str = MODEL) -> Path:
    """Write the same weights as a model that brings its own code."""
    from safetensors.torch import load_file, save_file  # noqa: PLC0415

    folder = _copied(source, target)
    (folder / "configuration_konkan.py").write_text(CONFIGURATION)
    (folder / "modeling_konkan.py").write_text(model)
    change_config(
        folder,
        model_type="konkan",
        architectures=["KonkanForCausalLM"],
        auto_map={
            "AutoConfig": "configuration_konkan.KonkanConfig",
            "AutoModelForCausalLM": "modeling_konkan.KonkanForCausalLM",
        },
    )
    weights = load_file(folder / "model.safetensors")
    names = {"lm_head.weight": "head.weight"}
    renamed = {names.get(name, name.replace("model.", "body.", 1)): one for name, one in weights.items()}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(autouse=True, scope="module")
def _own_module_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("modules")
        patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(cache))
        yield


# -- code of a model's own ---------------------------------------------------------------------------------


async def test_untrusted_code_is_refused_with_its_sum(tiny: Path, tmp_path: Path) -> None:
    """The error tells what to write into the settings, and nothing of the code has run."""
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w')\n" + MODEL
    folder = _with_code(tiny, tmp_path / "konkan", code)

    with pytest.raises(ModelError, match="Python code of its own") as caught:
        await load(folder)

    assert f'trusted_code_sha256 = "{code_sum(folder)}"' in str(caught.value)
    assert not ran.exists()


async def test_trusted_code_runs(tiny: Path, tmp_path: Path) -> None:
    """With the sum of its code a model of unknown kind says what the same weights say otherwise."""
    folder = _with_code(tiny, tmp_path / "konkan")
    model, plain = await load(folder, trusted_code_sha256=code_sum(folder).upper()), await load(tiny)

    assert await say(model, "Dev borem korum.") == await say(plain, "Dev borem korum.")
    await model.close()
    await plain.close()


async def test_trusted_code_without_a_cache_runs(tiny: Path, tmp_path: Path) -> None:
    """A model that only knows whole texts is asked with whole texts."""
    folder = _with_code(tiny, tmp_path / "konkan", UNCACHED)
    model, plain = await load(folder, trusted_code_sha256=code_sum(folder)), await load(tiny)

    assert await say(model, "Dev borem korum.", 6) == await say(plain, "Dev borem korum.", 6)
    await model.close()
    await plain.close()


async def test_changed_code_is_refused(tiny: Path, tmp_path: Path) -> None:
    """The sum covers every Python file of the folder, by name and content."""
    folder = _with_code(tiny, tmp_path / "konkan")
    trusted = code_sum(folder)
    (folder / "more.py").write_text("")

    with pytest.raises(ModelError, match="not the code that trusted_code_sha256 names"):
        await load(folder, trusted_code_sha256=trusted)


def test_the_sum_is_what_the_shell_says(tiny: Path, tmp_path: Path) -> None:
    """A person can compute it without this program."""
    folder = _with_code(tiny, tmp_path / "konkan")
    command = r"find . -name '*.py' -printf '%P\n' | LC_ALL=C sort | xargs sha256sum | sha256sum"

    said = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=True)

    assert said.stdout.split()[0] == code_sum(folder)


async def test_code_of_other_places_is_refused(tiny: Path, tmp_path: Path) -> None:
    """A name that leads to another repository is never followed."""
    folder = _copied(tiny, tmp_path / "far")
    change_config(folder, auto_map={"AutoModelForCausalLM": "someone/else--modeling.Model"})

    with pytest.raises(ModelError, match="another repository"):
        await load(folder, trusted_code_sha256=code_sum(folder))


# -- files -------------------------------------------------------------------------------------------------


async def test_pickled_weights_are_refused(tiny: Path, tmp_path: Path) -> None:
    """Reading them can run any code."""
    folder = _copied(tiny, tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")

    with pytest.raises(ModelError, match="pickled"):
        await load(folder)


async def test_broken_folders_are_refused(tiny: Path, tmp_path: Path) -> None:
    """The error says what is wrong, whatever it is."""
    cut = _copied(tiny, tmp_path / "cut")
    (cut / "model.safetensors").write_bytes((tiny / "model.safetensors").read_bytes()[:5000])
    unknown = _copied(tiny, tmp_path / "unknown")
    change_config(unknown, model_type="nobody-knows")

    with pytest.raises(ModelError, match="is not there"):
        await load(tmp_path / "absent")
    with pytest.raises(ModelError, match="cannot be"):
        await load(cut)
    with pytest.raises(ModelError, match="cannot be loaded"):
        await load(unknown)


async def test_a_wrong_sum_is_refused(tiny: Path) -> None:
    """The largest file is the one that counts."""
    right = hashlib.sha256((tiny / "model.safetensors").read_bytes()).hexdigest()

    with pytest.raises(ModelError, match=r"is not the expected one"):
        await load(tiny, sha256="0" * 64)

    await (await load(tiny, sha256=right.upper())).close()


async def test_a_model_larger_than_allowed_is_not_loaded(tiny: Path) -> None:
    """What it would take is told before it is read."""
    with pytest.raises(ModelError, match="max_memory"):
        await load(tiny, max_memory="1MB")


async def test_the_context_is_no_longer_than_the_model_knows(tiny: Path) -> None:
    """Positions a model never saw are not used."""
    model = await load(tiny, context_length=4096)

    assert model.context_length == 512
    with pytest.raises(ContextWindowExceeded):
        await say(model, "word " * 600)
    await model.close()


# -- devices and quantisation ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"device": "tpu"}, "unknown"),
        ({"device": "meta"}, "not supported"),
        ({"device": "cuda:9"}, "GPUs that torch can use"),
        ({"quantization": "4bit"}, "needs a GPU with CUDA"),
        ({"quantization": "8bit"}, "needs a GPU with CUDA"),
    ],
)
async def test_what_the_machine_lacks_is_told(tiny: Path, settings: dict[str, Any], problem: str) -> None:
    """The error names the setting and what there is."""
    with pytest.raises(ModelError, match=problem):
        await load(tiny, **settings)


async def test_int8_takes_less_memory(tiny: Path) -> None:
    """Answers come, the same together and alone, from a model of which the linear layers take a quarter."""
    model, full = await load(tiny, quantization="int8"), await load(tiny)

    assert await say(model, "Speak.") == await say(model, "Speak.")
    assert (await model.statistics()).memory_bytes < 0.7 * (await full.statistics()).memory_bytes
    await model.close()
    await full.close()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
async def test_numbers_of_16_bits_take_half_the_memory(tiny: Path, dtype: str) -> None:
    """Answers come, the same whenever they are asked for."""
    model, full = await load(tiny, dtype=dtype), await load(tiny)

    assert await say(model, "Speak.") == await say(model, "Speak.") != ""
    sizes = [(await one.statistics()).memory_bytes for one in (model, full)]
    assert 0.45 < sizes[0] / sizes[1] < 0.55
    await model.close()
    await full.close()


# -- adapters ----------------------------------------------------------------------------------------------


# peft asks transformers for a property by the name it had before.
_PEFT_IS_BEHIND = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


@pytest.fixture
def adapter(tiny: Path, tmp_path: Path) -> Path:
    """A LoRA adapter that changes what is said."""
    base: Any = AutoModelForCausalLM.from_pretrained(tiny)
    adapted: Any = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "o_proj", "down_proj"]))
    torch.manual_seed(3)
    for name, weights in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weights, std=0.5)
    adapted.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


@_PEFT_IS_BEHIND
async def test_adapters_change_what_is_said(tiny: Path, adapter: Path) -> None:
    """An adapter counts by its scale: none, once, or two that cancel each other out."""
    said = []
    for scales in ((), (0.0,), (1.0,), (1.0, -1.0), (0.5, 0.5)):
        adapters = [{"path": str(adapter), "scale": scale} for scale in scales]
        model = await load(tiny, adapters=adapters)
        said.append(await say(model, "Speak."))
        await model.close()

    plain, unscaled, adapted, cancelled, halves = said
    assert plain == unscaled == cancelled
    assert adapted == halves
    assert adapted != plain


@_PEFT_IS_BEHIND
async def test_pickled_adapters_are_refused(tiny: Path, adapter: Path) -> None:
    """They can run any code as well."""
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")

    with pytest.raises(ModelError, match=r"the adapter in .* is a pickled file"):
        await load(tiny, adapters=[{"path": str(adapter)}])


@_PEFT_IS_BEHIND
async def test_other_adapters_are_refused(tiny: Path, adapter: Path) -> None:
    """Only LoRA is known."""
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "peft_type": "PREFIX_TUNING"}))

    with pytest.raises(ModelError, match="PREFIX_TUNING"):
        await load(tiny, adapters=[{"path": str(adapter)}])


@_PEFT_IS_BEHIND
async def test_a_missing_package_is_named(tiny: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error tells what to install."""
    monkeypatch.setitem(sys.modules, "peft", None)

    with pytest.raises(ModelError, match=r"-e '\.\[adapters\]'"):
        await load(tiny, adapters=[{"path": str(adapter)}])
