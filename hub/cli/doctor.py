"""`doctor`: looks at every part with these settings and says what to do."""

import asyncio
import platform
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from typing import Literal

import orjson
import typer
from rich.console import Console

from hub.app import redis_url
from hub.bus.bus import INBOUND, Bus
from hub.bus.durability import durability_advice, durability_faults, require_shards
from hub.bus.embedded import find_server
from hub.email_settings import MailAccountSettings
from hub.errors import BusError, HubError, ModelError, SettingsError
from hub.model_registry import ModelRegistry
from hub.model_settings import RemoteSettings
from hub.model_states import ModelStates, merged
from hub.redaction import without_secrets
from hub.settings import Settings

LEAST_FREE_BYTES = 1 << 30
MARKS = {"ok": ("ok  ", "green"), "off": ("off ", "dim"), "warn": ("warn", "yellow"), "fail": ("FAIL", "red")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one look found."""

    part: str
    state: Literal["ok", "off", "warn", "fail"]
    text: str
    advice: str = ""


Check = Callable[[Settings], Awaitable[list[Finding]]]


def examine(settings: Settings, *, as_json: bool) -> None:
    """Print all findings; exit code 1 when something does not work."""
    findings = [_shown(finding) for finding in asyncio.run(find(settings))]
    if as_json:
        sys.stdout.write(orjson.dumps([asdict(finding) for finding in findings]).decode() + "\n")
    else:
        console = Console()
        for finding in findings:
            mark, colour = MARKS[finding.state]
            console.print(f"[{colour}]{mark}[/] {finding.part}: ", end="", highlight=False)
            console.print(finding.text, markup=False, highlight=False)
            if finding.advice:
                console.print(f"       {finding.advice}", style=colour, markup=False, highlight=False)
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(1)


def _shown(finding: Finding) -> Finding:
    """Give a finding without secrets: libraries and servers repeat what they were given."""
    return replace(finding, text=without_secrets(finding.text), advice=without_secrets(finding.advice))


async def find(settings: Settings) -> list[Finding]:
    """Look at every part; one that breaks the look itself is a finding too."""
    findings = [Finding(part="settings", state="ok", text="read without faults")]
    for part, check in CHECKS.items():
        try:
            async with asyncio.timeout(60):
                findings += await check(settings)
        except HubError as error:
            findings.append(Finding(part=part, state="fail", text=str(error)))
        except TimeoutError:
            findings.append(Finding(part=part, state="fail", text="no answer within 60 s"))
        except Exception as error:
            findings.append(Finding(part=part, state="fail", text=f"{type(error).__name__}: {error}"))
    return findings


async def _machine(settings: Settings) -> list[Finding]:
    settings.data.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.data).free
    text = f"{free / 1e9:.1f} GB free in {settings.data.resolve()}"
    advice = "Redis and the index need room; free some, or choose another folder with --data."
    enough = free >= LEAST_FREE_BYTES
    return [
        Finding(part="python", state="ok", text=f"{platform.python_version()} on {platform.platform()}"),
        Finding(part="disk", state="ok" if enough else "warn", text=text, advice="" if enough else advice),
    ]


async def _redis(settings: Settings) -> list[Finding]:
    try:
        url = redis_url(settings)
    except SettingsError:
        program = find_server(settings.bus)
        version = ".".join(map(str, program.version))
        text = f"embedded {version} ({program.path}), not running"
        return [Finding(part="redis", state="ok", text=text, advice="`hubbub up` starts it.")]
    bus = Bus(url, settings.bus)
    try:
        require_shards(settings.bus)
        await bus.ping()
        faults = await durability_faults(bus.redis, settings.bus)
        advice = await durability_advice(bus.redis, settings.bus)
        waiting, dead = await bus.backlog(INBOUND), await bus.dead_letters.count()
    finally:
        await bus.close()
    allowed = settings.bus.allow_unsafe_redis
    findings = [Finding(part="redis", state="ok", text=f"answers; {waiting} messages wait or run")]
    findings += [Finding(part="redis", state="warn" if allowed else "fail", text=fault) for fault in faults]
    findings += [Finding(part="redis", state="warn", text=one) for one in advice]
    if dead:
        findings.append(Finding(part="dead letters", state="warn", text=f"{dead} messages were given up"))
    return findings


async def _models(settings: Settings) -> list[Finding]:
    from knowledge.embedder import Embedder  # noqa: PLC0415 - a large library

    registry = ModelRegistry(settings)
    findings = [Finding(part="models.json", state="warn", text=problem) for problem in registry.problems]
    findings.append(await _running_model(settings, registry) or await _loaded_model(settings, registry))
    embedder = Embedder(settings.knowledge)
    try:
        vectors = await embedder.embed(["Is the embedding model there?"])
    finally:
        embedder.close()
    text = f"{settings.knowledge.embedding_model or 'all-MiniLM-L6-v2'}, {vectors.shape[1]} dimensions"
    return [*findings, Finding(part="embedding model", state="ok", text=text)]


async def _engine(settings: Settings) -> list[Finding]:
    from engine.models.hardware import describe, suggestion  # noqa: PLC0415
    from engine.models.llama.describe import describe_model, machine_for_llama  # noqa: PLC0415

    machine = machine_for_llama()
    findings = [Finding(part="engine", state="ok", text=f"{describe(machine)}; {suggestion(machine)}")]
    models = ModelRegistry(settings).models
    for name in (name for name, table in models.items() if table.type != "remote"):
        try:
            text = await asyncio.to_thread(describe_model, name, models, machine)
            findings.append(Finding(part=f"engine, {name}", state="ok", text=text))
        except ModelError as error:
            advice = "Correct its table, or take it out of the registry."
            findings.append(Finding(part=f"engine, {name}", state="warn", text=str(error), advice=advice))
    return findings


async def _remote_models(settings: Settings) -> list[Finding]:
    from engine.models.remote.probe import probe  # noqa: PLC0415

    registry = ModelRegistry(settings)
    remote = {name: one for name, one in registry.models.items() if isinstance(one, RemoteSettings)}
    return [
        Finding(
            part=f"model {name}",
            state="ok" if one.answers else "fail" if name == registry.default else "warn",
            text=one.text,
            advice=""
            if one.answers
            else "Check base_urls and api_key of its table, and whether that server runs.",
        )
        for name, table in remote.items()
        for one in await probe(name, table)
    ]


async def _running_model(settings: Settings, registry: ModelRegistry) -> Finding | None:
    """Ask the running engine for its model; None where none runs, and it is to be loaded here."""
    try:
        bus = Bus(redis_url(settings), settings.bus)
    except SettingsError:
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
    text = f"{found.name}, {found.context_length} tokens of context, {found.state} by the running hub"
    if found.state == "failed":
        return Finding(part="chat model", state="fail", text=text, advice=found.error)
    return Finding(part="chat model", state="ok", text=f"{text}, {found.memory_bytes >> 20} MiB")


async def _loaded_model(settings: Settings, registry: ModelRegistry) -> Finding:
    from engine.models.manager import ModelManager  # noqa: PLC0415
    from engine.models.memory import budget_bytes  # noqa: PLC0415
    from engine.models.opener import ModelOpener  # noqa: PLC0415

    budget = budget_bytes(settings.engine.memory_budget)
    manager = ModelManager(registry, ModelOpener(registry, settings.log), memory_budget_bytes=budget)
    try:
        async with manager.use(registry.default) as model:
            text = f"{registry.default}, {model.context_length} tokens of context"
    finally:
        await manager.close()
    return Finding(part="chat model", state="ok", text=text)


async def _telegram(settings: Settings) -> list[Finding]:
    from aiogram.methods import GetMe, GetWebhookInfo  # noqa: PLC0415

    from connectors.telegram.client import Client  # noqa: PLC0415
    from connectors.telegram.diagnosis import diagnose  # noqa: PLC0415

    token = settings.telegram.token.get_secret_value()
    if not token:
        advice = "Set HUBBUB_TELEGRAM__TOKEN to the token that @BotFather gave you."
        return [Finding(part="telegram", state="off", text="no token", advice=advice)]
    client = Client(token, settings.telegram.api_base)
    try:
        bot = await client.call(GetMe())
        hook = await client.call(GetWebhookInfo())
    finally:
        await client.close()
    found = diagnose(bot, hook, public_url=settings.api.public_url)
    state: Literal["ok", "warn"] = "ok" if found.is_well else "warn"
    return [Finding(part="telegram", state=state, text=found.text, advice=found.advice)]


async def _email(settings: Settings) -> list[Finding]:
    if not settings.email.accounts:
        advice = "Add a table [[email.accounts]] to settings.toml; docs/email.md shows one."
        return [Finding(part="email", state="off", text="no mailbox", advice=advice)]
    return [await _mailbox(account, settings) for account in settings.email.accounts]


async def _mailbox(account: MailAccountSettings, settings: Settings) -> Finding:
    from connectors.email.account import AccountUnusable, check_account  # noqa: PLC0415

    part = f"email {account.address}"
    try:
        report = await check_account(account, timeout_s=settings.email.command_timeout_s)
    except AccountUnusable as error:
        return Finding(part=part, state="fail", text=str(error), advice=error.advice)
    return Finding(
        part=part,
        state="warn" if report.problems else "ok",
        text="; ".join([report.text, *report.problems]),
        advice=" ".join(report.advice),
    )


CHECKS: dict[str, Check] = {
    "machine": _machine,
    "redis": _redis,
    "engine": _engine,
    "models": _models,
    "remote models": _remote_models,
    "telegram": _telegram,
    "email": _email,
}
