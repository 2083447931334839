"""Opens models where they belong: in a process of their own, or in this one where another machine does the work."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.models.base import ChatModel
from engine.models.llama.files import model_file
from engine.models.memory import estimated_bytes
from engine.models.process import HOST, ModelProcess
from engine.models.registry import MODEL_TYPES, ModelType
from hub.errors import ModelError
from hub.logs import LogSettings
from hub.model_registry import ModelRegistry, stamp_of
from hub.model_settings import GgufSettings, LocalModelSettings, ModelSettings, SafetensorsSettings

_OF_WEIGHTS = ("path", "sha256", "device", "dtype", "quantization", "trusted_code_sha256")
"""Settings of a safetensors model that decide what its loaded weights are."""


@dataclass(slots=True, eq=False)
class _Place:
    """A process, and how many models live in it."""

    starting: asyncio.Task[ModelProcess]
    models: int = 0

    def has_failed(self) -> bool:
        """Whether nothing can be loaded there any more."""
        if not self.starting.done():
            return False
        return self.starting.exception() is not None or bool(self.starting.result().failure)


@dataclass(frozen=True, slots=True, eq=False)
class OpenModel:
    """A loaded model, and where it lives."""

    model: ChatModel
    process: ModelProcess | None = None
    """None: this one."""
    place: _Place | None = None

    @property
    def failure(self) -> str:
        """Why it answers no more; empty while it does."""
        return self.process.failure if self.process else ""


class ModelOpener:
    """Opens and closes models; those of one file or folder with different adapters live in one process."""

    def __init__(
        self,
        registry: ModelRegistry,
        log_settings: LogSettings,
        *,
        types: Mapping[str, ModelType] = MODEL_TYPES,
        command: Sequence[str] = HOST,
    ) -> None:
        self._registry = registry
        self._log_settings = log_settings
        self._types = types
        self._command = command
        self._places: dict[str, _Place] = {}

    def estimate(self, name: str, settings: ModelSettings) -> int:
        """Tell about how many bytes a model will take; 0 where the weights are loaded already.

        Raises: ModelError: it cannot be loaded at all.
        """
        settings = self.resolved(name, settings)
        place = self._places.get(_place_key(name, settings))
        return 0 if place and not place.has_failed() else estimated_bytes(name, settings)

    async def open(self, name: str, settings: ModelSettings, limit_bytes: int) -> OpenModel:
        """Load a model, which chooses what the settings leave open so that it keeps to the limit.

        Raises: ModelError: it could not be loaded.
        """
        model_type = self._types[settings.type]
        settings = self.resolved(name, settings)
        if model_type.load_tokenizer is None or not isinstance(settings, LocalModelSettings):
            return OpenModel(await model_type.load(name, settings))
        place = self._enter(_place_key(name, settings))
        settings = settings.model_copy(update={"max_memory": f"{limit_bytes >> 20} MiB"})
        try:
            process = await asyncio.shield(place.starting)
            model = await process.load(name, settings, model_type.load_tokenizer)
        except BaseException:
            await self._leave(place)
            raise
        return OpenModel(model, process, place)

    async def close(self, opened: OpenModel) -> None:
        """Close a model once its running answers have ended, and its process with the last one there."""
        await opened.model.close()
        if opened.place:
            await self._leave(opened.place)

    def resolved(self, name: str, settings: ModelSettings) -> ModelSettings:
        """Give a model with adapters the file of the model it is based on.

        Raises: ModelError: there is no such model.
        """
        if not isinstance(settings, GgufSettings | SafetensorsSettings) or not settings.base:
            return settings
        base = self._registry.models.get(settings.base)
        # One that is based on another itself has no weights of its own.
        fits = isinstance(base, type(settings)) and not getattr(base, "base", "") and not settings.path
        if isinstance(base, GgufSettings) and fits:
            return settings.model_copy(update=_taken(base, "path", "sha256", "gpu_layers"))
        if isinstance(base, SafetensorsSettings) and fits:
            if base.adapters or base.quantization == "int8":
                raise ModelError(
                    f"model {name} cannot be loaded: its base {settings.base} has adapters itself or is rounded to int8, "
                    "which changes the weights; the base of others has neither"
                )
            return settings.model_copy(update=_taken(base, *_OF_WEIGHTS))
        raise ModelError(
            f"model {name} cannot be loaded: `base` has to name a model of type {settings.type} with "
            f"{'a file' if settings.type == 'gguf' else 'a folder'} of its own, and then `path` stays empty"
        )

    def _enter(self, key: str) -> _Place:
        place = self._places.get(key)
        if place is None or place.has_failed():
            starting = asyncio.create_task(ModelProcess.start(self._log_settings, self._command))
            place = self._places[key] = _Place(starting)
        place.models += 1
        return place

    async def _leave(self, place: _Place) -> None:
        place.models -= 1
        if place.models:
            return
        for key in [key for key, other in self._places.items() if other is place]:
            del self._places[key]
        # Nobody waits for it any more, and it must not be left behind.
        process = (await asyncio.gather(place.starting, return_exceptions=True))[0]
        if isinstance(process, ModelProcess):
            await process.close()


def _taken(base: ModelSettings, *fields: str) -> dict[str, object]:
    return {field: getattr(base, field) for field in fields}


def _place_key(name: str, settings: ModelSettings) -> str:
    # A file that was replaced has other weights under the same name.
    if isinstance(settings, GgufSettings):
        path = model_file(settings)
        return repr((settings.base or name, path, stamp_of(path), settings.sha256, settings.gpu_layers))
    if isinstance(settings, SafetensorsSettings) and (settings.base or not settings.adapters):
        folder = Path(settings.path).expanduser()
        # Not the record of what was fetched, which is written for every file of the repository.
        files = (path for path in sorted(folder.glob("*")) if not path.name.startswith("."))
        stamps = [(path.name, stamp_of(path)) for path in files]
        return repr((settings.base or name, _taken(settings, *_OF_WEIGHTS), stamps))
    return f"{name}\n{settings.model_dump_json()}"
