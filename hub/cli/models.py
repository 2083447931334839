"""`models`: the registry from the terminal: what there is, fetching, verifying, loading and unloading."""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as ProgressBar
from rich.table import Column, Table

from hub.app import redis_url
from hub.bus.bus import Bus
from hub.bus.calls import Caller
from hub.bus.connection import connect_reader
from hub.cli.database import audited
from hub.cli.printing import print_json
from hub.errors import BusError, ProvisionError, SettingsError, UnknownModel
from hub.model_registry import ModelRegistry
from hub.model_settings import ModelSettings, RemoteSettings
from hub.model_states import ModelState, ModelStates, merged
from hub.provision.ledger import ledger_above
from hub.provision.names import MODELS_FOLDER, parse_source
from hub.provision.ollama import ollama_models, pull_by_ollama
from hub.provision.pull import Progress, Pulled, Report, pull
from hub.provision.verify import Checked, path_of, verify
from hub.settings import Settings

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells expect it."""
LOAD_TIMEOUT_S = 600.0
_COLOURS = {"ok": "green", "changed": "red", "missing": "red", "unknown": "yellow"}
_EXPLAINED = {
    "changed": "is not what was recorded",
    "missing": "is not there",
    "unknown": "has no recorded sum to compare with",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model, as it is listed."""

    name: str
    type: str
    location: str
    """File, folder or address."""
    size_bytes: int
    source: str
    """Where it came from."""
    roles: tuple[str, ...]
    quantization: str
    state: str
    """Empty where no hub runs."""
    error: str


def list_models(settings: Settings, *, as_json: bool) -> None:
    """Print all models of the registry, and what the running hub says about them."""
    registry = ModelRegistry(settings)
    states = {state.name: state for state in asyncio.run(_running(settings))}
    rows = [
        _row(settings, registry, name, model, states.get(name))
        for name, model in sorted(registry.models.items())
    ]
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    table = Table(
        Column("name", no_wrap=True),
        "type",
        "size",
        "state",
        "roles",
        "from",
        Column("where", overflow="fold"),
    )
    for row in rows:
        size = f"{row.size_bytes / 1e6:,.0f} MB" if row.size_bytes else ""
        table.add_row(row.name, row.type, size, row.state, ", ".join(row.roles), row.source, row.location)
    console = Console()
    console.print(table)
    for text in (*registry.problems, *(f"{row.name}: {row.error}" for row in rows if row.error)):
        console.print(text, style="yellow", markup=False, highlight=False)


def list_ollama(settings: Settings, *, as_json: bool) -> None:
    """Print the models that the Ollama server of the settings has."""
    models = asyncio.run(ollama_models(settings))
    if as_json:
        print_json([asdict(model) for model in models])
        return
    table = Table(Column("name", no_wrap=True), "size", "parameters", "quantisation")
    for model in models:
        table.add_row(model.name, f"{model.size_bytes / 1e6:,.0f} MB", model.parameters, model.quantization)
    Console().print(table)


def pull_model(settings: Settings, model: str, *, name: str, by_ollama: bool, as_json: bool) -> None:
    """Fetch a model and put it into the registry; Ctrl-C keeps what has come."""

    async def main(report: Report) -> Pulled:
        if by_ollama:
            return await pull_by_ollama(settings, model, report, name=name)
        return await pull(settings, parse_source(model), report, name=name)

    settings.data.mkdir(parents=True, exist_ok=True)
    try:
        with audited(settings, "models pull") as noted, _bar(hidden=as_json) as report:
            pulled = asyncio.run(main(report))
            noted.done("model_fetched", pulled.name)
    except KeyboardInterrupt:
        typer.echo("Interrupted. What has come is kept; the same command goes on from there.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json(asdict(pulled))
        return
    if pulled.reason:
        typer.echo(f"{pulled.reason} After a colon you name another one: {model}:Q4_K_M")
    typer.echo(f"{pulled.name} is in the registry: {pulled.location}")
    typer.echo(f'To answer with it, set `model = "{pulled.name}"` in the table [engine] of settings.toml.')


@contextlib.contextmanager
def _bar(*, hidden: bool) -> Iterator[Report]:
    columns = (
        *(TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn()),
        *(TransferSpeedColumn(), TimeRemainingColumn()),
    )
    with ProgressBar(*columns, console=Console(stderr=True), disable=hidden, transient=True) as bar:
        task = bar.add_task("asking", total=None)

        def report(step: Progress) -> None:
            total = step.total_bytes or None
            bar.update(task, completed=step.done_bytes, total=total, description=step.file[-40:])

        yield report


def verify_models(settings: Settings, name: str, *, as_json: bool) -> None:
    """Compute the sums of the models' files; exit code 1 when one is not what was recorded."""
    console, found = Console(), []
    for checked in verify(settings, ModelRegistry(settings).models, name):
        found.append(checked)
        if not as_json:
            _print_checked(console, checked)
    if as_json:
        print_json([asdict(one) for one in found])
    elif not found:
        console.print("No model has a file of its own; the bundled one is checked whenever it is loaded.")
    if any(one.state in {"changed", "missing"} for one in found):
        raise typer.Exit(1)


def _print_checked(console: Console, checked: Checked) -> None:
    console.print(f"[{_COLOURS[checked.state]}]{checked.state:8}[/]", end="", highlight=False)
    explained = f" {_EXPLAINED[checked.state]}" if checked.state in _EXPLAINED else ""
    console.print(
        f"{checked.model}: {checked.path}{explained}", markup=False, highlight=False, soft_wrap=True
    )


def change_model(settings: Settings, action: str, name: str, *, as_json: bool) -> None:
    """Let the running hub load or unload a model, and print what became of it.

    Raises: UnknownModel: there is none of this name. SettingsError, CallFailed: no hub runs, or no engine.
    """
    registry = ModelRegistry(settings)
    known = registry.resolve(name)
    with audited(settings, f"models {action}") as noted:
        states = asyncio.run(_ask(settings, {"action": action, "model": known}))
        state = next((one for one in states if one.name == known), None)
        if state is None:
            raise UnknownModel(known, sorted(one.name for one in states))
        noted.done(f"model_{action}ed", known)
    if as_json:
        print_json(state.model_dump(mode="json"))
    else:
        memory = f", {state.memory_bytes / 1e6:,.0f} MB of memory" if state.memory_bytes else ""
        typer.echo(f"{state.name} is {state.state}{memory}.")
    if state.error and action == "load":
        raise ProvisionError(state.error)


def _row(
    settings: Settings, registry: ModelRegistry, name: str, model: ModelSettings, state: ModelState | None
) -> Row:
    path = path_of(model)
    is_remote = isinstance(model, RemoteSettings)
    return Row(
        name=name,
        type=model.type,
        location=", ".join(model.base_urls) if isinstance(model, RemoteSettings) else str(path or ""),
        size_bytes=_size(path) if path else 0,
        source=_source(settings, path)
        if path
        else model.model
        if isinstance(model, RemoteSettings)
        else "install",
        roles=registry.roles_of(name),
        quantization="" if is_remote else getattr(model, "quantization", ""),
        state=state.state if state else "",
        error=state.error if state else "",
    )


def _size(path: Path) -> int:
    files: Iterable[Path] = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _source(settings: Settings, path: Path) -> str:
    _, ledger = ledger_above(path.resolve(), (settings.data / MODELS_FOLDER).resolve())
    return ledger.repo or "settings"


async def _running(settings: Settings) -> list[ModelState]:
    """Return the states that engines wrote down; none where no hub runs."""
    try:
        bus = Bus(redis_url(settings), settings.bus)
    except SettingsError:
        return []
    try:
        return merged(await ModelStates(bus.redis).others())
    except BusError:
        return []
    finally:
        await bus.close()


async def _ask(settings: Settings, request: Mapping[str, Any]) -> list[ModelState]:
    bus = Bus(redis_url(settings), settings.bus)
    caller, stop = Caller(bus.redis, connect_reader(bus.url)), asyncio.Event()
    receiving = asyncio.create_task(caller.run(stop))
    try:
        answer = await caller.call("models", request, timeout_s=LOAD_TIMEOUT_S)
        return [ModelState.model_validate(state) for state in answer["models"]]
    finally:
        stop.set()
        await asyncio.gather(receiving, return_exceptions=True)
        await bus.close()
