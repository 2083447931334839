"""LoRA adapters on one safetensors model: loaded beside each other, chosen by who asks, and none of another's business."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from engine.models.manager import ModelManager
from engine.models.opener import ModelOpener
from engine.models.transformers_model import TransformersChatModel
from hub.errors import ModelError, ModelUnavailable, SettingsError
from hub.logs import LogSettings
from hub.model_registry import ModelRegistry
from hub.model_settings import AdapterSettings, SafetensorsSettings
from hub.settings import Settings, load_settings
from tests.engine.models.formats.small import say
from tests.gguf_lora import Lora

# peft asks transformers for a property by the name it had before.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

WAIT_S = 120
LAYERS = 3
QUESTIONS = ("What is the capital of France?", "Name three colours.")


def on(folder: Path, *adapters: Path, base: str = "", **more: Any) -> SafetensorsSettings:
    """Describe a model folder with adapters."""
    return SafetensorsSettings(
        type="safetensors",
        path=str(folder),
        base=base,
        context_length=256,
        profile="smollm2",
        device="cpu",
        threads=1,
        adapters=tuple(AdapterSettings(path=str(path)) for path in adapters),
        **more,
    )


def small_adapter(folder: Path, seed: int, *, width: int = 32) -> Path:
    """Write an adapter for the small Llama of random weights."""
    folder.mkdir()
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": 2,
        "lora_alpha": 2,
        "target_modules": ["o_proj"],
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    chance = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(2):
        name = f"base_model.model.model.layers.{layer}.self_attn.o_proj"
        tensors[f"{name}.lora_A.weight"] = torch.randn(2, width, generator=chance)
        tensors[f"{name}.lora_B.weight"] = torch.randn(width, 2, generator=chance)
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


async def answers(model: TransformersChatModel) -> list[str]:
    """Ask everything at once."""
    return list(await asyncio.gather(*(say(model, question, 6) for question in QUESTIONS)))


async def alone(settings: SafetensorsSettings) -> list[str]:
    """Load a model whose adapters are added to its weights, and ask it."""
    model = await TransformersChatModel.load("alone", settings)
    said = await answers(model)
    await model.close()
    return said


@pytest.fixture
def cut(converted: Path, tmp_path: Path) -> Path:
    """The bundled model without most of its layers, which is loaded and computed the sooner."""
    folder = tmp_path / "cut"
    folder.mkdir()
    for path in (converted / "safetensors").iterdir():
        (folder / path.name).symlink_to(path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": LAYERS}))
    return folder


async def test_adapters_beside_one_base_answer_as_merged_ones(cut: Path, tmp_path: Path) -> None:
    """Token for token, while all are asked at once; the base says what it says without them."""
    one, two = (
        Lora.random(seed, size=0.6, layers=range(LAYERS)).write_peft(tmp_path / str(seed)) for seed in (1, 2)
    )
    every: list[tuple[Path, ...]] = [(), (one,), (two,), (one, two)]
    expected = [await alone(on(cut, *adapters)) for adapters in every]

    base = await TransformersChatModel.load("base", on(cut))
    models = [base]
    for adapters in every[1:]:
        settings = on(cut, *adapters, base="base")
        models.append(await TransformersChatModel.load("beside", settings, shared=base.shared))
    said = await asyncio.gather(*(answers(model) for model in models))

    assert said == expected
    assert len({tuple(texts) for texts in said}) == 4
    assert len({id(model.shared) for model in models}) == 1
    for model in models:
        await model.close()


async def test_adapters_come_and_go_while_others_are_asked(tiny: Path, tmp_path: Path) -> None:
    """The base may be closed first; what was closed can be loaded again."""
    paths = [small_adapter(tmp_path / str(seed), seed) for seed in range(2)]
    base = await TransformersChatModel.load("base", on(tiny))
    plain, shared = await answers(base), base.shared
    settings = [on(tiny, path, base="base") for path in paths]
    first = await TransformersChatModel.load("first", settings[0], shared=shared)
    said = await answers(first)

    asking = asyncio.create_task(answers(first))
    second = await TransformersChatModel.load("second", settings[1], shared=shared)
    other = await answers(second)
    await second.close()
    assert await asking == said
    assert other not in (said, plain)
    assert await answers(base) == plain
    await base.close()
    assert await answers(first) == said
    await first.close()
    again = await TransformersChatModel.load("again", settings[0], shared=shared)
    assert await answers(again) == said
    await again.close()


async def test_an_adapter_that_does_not_fit_harms_nobody(tiny: Path, tmp_path: Path) -> None:
    """Whether it is the first one on this base or not."""
    wrong, right = small_adapter(tmp_path / "wrong", 1, width=48), small_adapter(tmp_path / "right", 2)
    base = await TransformersChatModel.load("base", on(tiny))
    plain, shared = await answers(base), base.shared

    with pytest.raises(ModelError, match="cannot be loaded"):
        await TransformersChatModel.load("wrong", on(tiny, wrong, base="base"), shared=shared)
    assert await answers(base) == plain
    model = await TransformersChatModel.load("right", on(tiny, right, base="base"), shared=shared)
    said = await answers(model)
    with pytest.raises(ModelError, match="cannot be loaded"):
        await TransformersChatModel.load("wrong", on(tiny, right, wrong, base="base"), shared=shared)

    assert await answers(base) == plain
    assert await answers(model) == said != plain
    assert said == await alone(on(tiny, right))
    await base.close()
    await model.close()


@asynccontextmanager
async def managed(data: Path, models: Mapping[str, SafetensorsSettings]) -> AsyncIterator[ModelManager]:
    """Manage these models, in processes of their own."""
    registry = ModelRegistry(Settings(_env_file=None, data=data, models=dict(models)))
    manager = ModelManager(registry, ModelOpener(registry, LogSettings()), memory_budget_bytes=1 << 40)
    try:
        async with asyncio.timeout(WAIT_S):
            yield manager
    finally:
        await manager.close()


async def test_models_on_one_base_are_one_process(tiny: Path, tmp_path: Path, data: Path) -> None:
    """Whichever comes first; replacing an adapter reloads nothing, and the process ends with the last of them."""
    paths = [small_adapter(tmp_path / str(seed), seed) for seed in range(3)]
    models = {"base": on(tiny), **{f"with{n}": _beside(paths[n]) for n in range(2)}}
    async with managed(data, models) as manager:

        async def ask(name: str) -> tuple[str, int]:
            async with manager.use(name) as model:
                return await say(model, "Speak."), manager.slots.current[name].process_id

        told = [await ask(name) for name in ("with0", "base", "with1")]
        await manager.swap("with1", _beside(paths[2]))
        swapped = await ask("with1")
        if closing := manager.unload("base"):
            await closing

        assert len({text for text, _ in [*told, swapped]}) == 4
        assert len({pid for _, pid in [*told, swapped]}) == 1
        assert await ask("with0") == told[0]
        assert await ask("base") == told[1]


def _beside(adapter: Path, base: str = "base") -> SafetensorsSettings:
    return on(Path(), adapter, base=base).model_copy(update={"path": ""})


async def test_a_base_that_cannot_be_one_is_told(tiny: Path, tmp_path: Path, data: Path) -> None:
    """One with adapters of its own or rounded weights, one that is based on another, none at all; and a path beside it."""
    adapter = small_adapter(tmp_path / "adapter", 1)
    models = {
        "base": on(tiny),
        "adapted": on(tiny, adapter),
        "rounded": on(tiny, quantization="int8"),
        "on_adapted": _beside(adapter, "adapted"),
        "on_rounded": _beside(adapter, "rounded"),
        "on_based": _beside(adapter, "on_adapted"),
        "on_gguf": _beside(adapter, "smollm2-135m"),
        "on_nothing": _beside(adapter, "nobody"),
        "twice": on(tiny, adapter, base="base"),
    }
    async with managed(data, models) as manager:
        for name, problem in (
            ("on_adapted", "has adapters itself"),
            ("on_rounded", "rounded to int8"),
            *(
                (one, "type safetensors with a folder")
                for one in ("on_based", "on_gguf", "on_nothing", "twice")
            ),
        ):
            with pytest.raises(ModelUnavailable, match=problem):
                await manager.load(name)


def test_a_table_without_path_and_base_is_refused(tmp_path: Path) -> None:
    """The error names the model and what is missing."""
    file = tmp_path / "settings.toml"
    file.write_text('[models.x]\ntype = "safetensors"\n')

    with pytest.raises(SettingsError, match="path is needed, or base"):
        load_settings(file)
