"""LoRA adapters on a Hugging Face model, and one loaded model that several chat models compute with."""

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from engine.models.hf_folder import check_safetensors, open_folder, read_fields
from hub.errors import ModelError
from hub.model_settings import AdapterSettings


class SharedModel:
    """A loaded model; who computes with it says which adapters count, and nobody else computes meanwhile.

    Safe on any thread: each chat model has one of its own.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self._adapted: Any = None
        self._active: tuple[str, ...] = ()
        self._numbers = itertools.count(1)
        self._computing = threading.Lock()

    @contextmanager
    def using(self, adapters: tuple[str, ...]) -> Iterator[Any]:
        """Give the model with these adapters, of those that `add` has named, and no others."""
        with self._computing:
            self._activate(adapters)
            yield self.module

    def add(self, adapters: Sequence[AdapterSettings]) -> tuple[str, ...]:
        """Put adapters beside the weights, which stay as they are.

        Returns: the names they have here.
        Raises: ModelError: one of them is no LoRA adapter, or peft is missing. Whatever peft raises, too.
        """
        if not adapters:
            return ()
        _peft()
        names = tuple(f"adapter{next(self._numbers)}" for _ in adapters)
        with self._computing:
            try:
                for name, adapter in zip(names, adapters, strict=True):
                    self._adapted = load_adapter(self._adapted or self.module, name, adapter)
            except BaseException:
                self._drop(names)
                raise
            # peft lets the one that came last count.
            self._activate((), anew=True)
        return names

    def remove(self, names: Sequence[str]) -> None:
        """Forget adapters."""
        if names:
            with self._computing:
                self._drop(names)

    def _activate(self, names: tuple[str, ...], *, anew: bool = False) -> None:
        if anew or names != self._active:
            self._adapted.base_model.set_adapter(list(names), inference_mode=True)
            self._active = names

    def _drop(self, names: Sequence[str]) -> None:
        layers = _peft().tuners.tuners_utils.BaseTunerLayer
        # Layer by layer, because an adapter that could not be loaded is there in part, and peft does not know it.
        for module in self.module.modules():
            if isinstance(module, layers):
                module.set_adapter([], inference_mode=True)
                for name in names:
                    module.delete_adapter(name)
        self._active = ()
        if self._adapted is None:
            # What is left of the first one would pass for an adapter of somebody else.
            vars(self.module).pop("peft_config", None)
            return
        self._adapted.base_model.set_adapter([], inference_mode=True)
        for name in names:
            self._adapted.peft_config.pop(name, None)


def merged(model: Any, adapters: Sequence[AdapterSettings]) -> Any:
    """Add LoRA adapters to the weights of a model, all of them at once, each with its scale."""
    adapted = _all_on(model, adapters)
    return adapted.merge_and_unload()


def beside(model: Any, adapters: Sequence[AdapterSettings]) -> Any:
    """Put LoRA adapters on a model without touching its weights, which are of few bits."""
    return _all_on(model, adapters).base_model.model


def _all_on(model: Any, adapters: Sequence[AdapterSettings]) -> Any:
    adapted, names = model, [f"adapter{number}" for number, _ in enumerate(adapters)]
    for name, adapter in zip(names, adapters, strict=True):
        adapted = load_adapter(adapted, name, adapter)
    adapted.base_model.set_adapter(names)
    return adapted


def load_adapter(model: Any, name: str, adapter: AdapterSettings) -> Any:
    """Put one LoRA adapter on a model, or on what this gave for an earlier one.

    Raises: ModelError: it is no LoRA adapter, or peft is missing.
    """
    peft = _peft()
    folder = open_folder(adapter.path)
    check_safetensors(folder, what="adapter")
    kind = read_fields(folder / "adapter_config.json").get("peft_type")
    if kind != "LORA":
        raise ModelError(f"the adapter in {folder} is no LoRA adapter, but {kind or 'something else'}")
    adapted = model
    if isinstance(model, peft.PeftModel):
        model.load_adapter(str(folder), adapter_name=name, local_files_only=True)
    else:
        adapted = peft.PeftModel.from_pretrained(model, folder, adapter_name=name, local_files_only=True)
    for module in adapted.modules():
        if isinstance(module, peft.tuners.lora.LoraLayer) and name in module.scaling:
            module.scaling[name] *= adapter.scale
    return adapted


def _peft() -> Any:
    try:
        import peft  # noqa: PLC0415
    except ImportError as error:
        raise ModelError(
            "adapters need the package peft: .venv/bin/pip install -c constraints.txt -e '.[adapters]'"
        ) from error
    return peft
