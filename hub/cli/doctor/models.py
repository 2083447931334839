"""The models: how each is run on this machine, whether those that answer can be loaded, and whether remote ones answer."""

import asyncio
from dataclasses import replace

from hub.app import redis_url
from hub.bus.bus import Bus
from hub.cli.doctor.finding import Finding, fail, ok, warn
from hub.errors import BusError, HubError, KnowledgeError, ModelError, SettingsError
from hub.machine import budget_bytes
from hub.model_registry import ModelRegistry
from hub.model_settings import RemoteSettings
from hub.model_states import ModelStates, merged
from hub.settings import Settings

_CAUSES = (
    (("No such file", "there is no file", "cannot be read", "not there"), "Set `path` of its table [models.*] to a file that is there, or fetch one with `hubbub models pull`."),
    (("budget", "memory", "takes"), "Set `memory_budget` in the table [engine] higher, `context_length` or `parallel` of the model lower, or choose a smaller model as `engine.model`."),
    (("sha256", "sum", "not the expected", "magic", "GGUF", "damaged", "truncated"), "Its file is damaged: fetch it again with `hubbub models pull`; `hubbub models verify` compares all with their sums."),
)  # fmt: skip
_OTHERWISE = "Correct its table [models.*] in settings.toml or its entry in models.json; `hubbub models verify` compares files with their sums."


def cure_of(error: str) -> str:
    """Say what to do about a model that cannot be loaded."""
    return next((advice for words, advice in _CAUSES if any(word in error for word in words)), _OTHERWISE)


async def look_at_engine(settings: Settings) -> list[Finding]:
    """Say how each local model will be run."""
    from engine.models.hardware import describe, suggestion  # noqa: PLC0415
    from engine.models.llama.describe import describe_model, machine_for_llama  # noqa: PLC0415

    machine = machine_for_llama()
    findings = [ok("engine", f"{describe(machine)}; {suggestion(machine)}")]
    models = ModelRegistry(settings).models
    limit_bytes = budget_bytes(settings.engine.memory_budget)
    for name in (name for name, table in models.items() if table.type != "remote"):
        try:
            text = await asyncio.to_thread(describe_model, name, models, machine, limit_bytes=limit_bytes)
            findings.append(ok(f"engine, {name}", text))
        except ModelError as error:
            findings.append(warn(f"engine, {name}", str(error), cure_of(str(error))))
    return findings


async def look_at_models(settings: Settings) -> list[Finding]:
    """Load what answers and what embeds, unless a running hub has it loaded."""
    registry = ModelRegistry(settings)
    findings = [
        warn(
            "models.json",
            problem,
            f"Correct that entry in {settings.models_path}; docs/models.md shows all fields.",
        )
        for problem in registry.problems
    ]
    try:
        findings.append(await _running_model(settings, registry) or await _loaded_model(settings, registry))
    except HubError as error:
        findings.append(fail("chat model", str(error), cure_of(str(error))))
    return [*findings, await _embedding_model(settings)]


async def _embedding_model(settings: Settings) -> Finding:
    from knowledge.embedder import Embedder  # noqa: PLC0415 - a large library

    name = settings.knowledge.embedding_model or "all-MiniLM-L6-v2"
    try:
        embedder = Embedder(settings.knowledge)
        try:
            vectors = await embedder.embed(["Is the embedding model there?"])
        finally:
            embedder.close()
    except KnowledgeError as error:
        advice = "Set `embedding_model` in the table [knowledge] to the folder of a sentence-transformers model, or empty for the bundled one."
        return fail("embedding model", str(error), advice)
    return ok("embedding model", f"{name}, {vectors.shape[1]} dimensions")


async def look_at_remote_models(settings: Settings) -> list[Finding]:
    """Ask the servers of remote models."""
    from engine.models.remote.probe import probe  # noqa: PLC0415

    registry = ModelRegistry(settings)
    remote = {name: one for name, one in registry.models.items() if isinstance(one, RemoteSettings)}
    advice = "Check `base_urls` and `api_key` of its table, and whether that server runs."
    findings = []
    for name, table in remote.items():
        for one in await probe(name, table):
            found = fail(f"model {name}", one.text, advice)
            if one.answers:
                found = ok(f"model {name}", one.text)
            elif name != registry.default:
                found = replace(found, state="warn")
            findings.append(found)
    return findings


async def _running_model(settings: Settings, registry: ModelRegistry) -> Finding | None:
    """Ask the running engine for its model; None where none runs, and it is to be loaded here."""
    try:
        bus = Bus(redis_url(settings), settings.bus)
    except (SettingsError, ValueError):
        return None
    try:
        states = merged(await ModelStates(bus.redis).others())
    except BusError:
        return None
    finally:
        await bus.close()
    found = next((state for state in states if state.name == registry.default), None)
    if found is None:
        return None
    # Which it has is known once it is loaded.
    context = f"{found.context_length} tokens of context, " if found.context_length else ""
    text = f"{found.name}, {context}{found.state} by the running hub"
    if found.state == "failed":
        return fail("chat model", f"{text}: {found.error}", cure_of(found.error))
    return ok("chat model", f"{text}, {found.memory_bytes >> 20} MiB")


async def _loaded_model(settings: Settings, registry: ModelRegistry) -> Finding:
    from engine.models.manager import ModelManager  # noqa: PLC0415
    from engine.models.opener import ModelOpener  # noqa: PLC0415

    budget = budget_bytes(settings.engine.memory_budget)
    manager = ModelManager(registry, ModelOpener(registry, settings.log), memory_budget_bytes=budget)
    try:
        async with manager.use(registry.default) as model:
            text = f"{registry.default}, {model.context_length} tokens of context"
    finally:
        await manager.close()
    return ok("chat model", text)
