"""`doctor`: looks at every part with these settings and says what to do; each kind of look has a file of its own."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from urllib.parse import unquote, urlsplit

import typer
from rich.console import Console

from hub.cli.doctor.channels import look_at_email, look_at_telegram
from hub.cli.doctor.database import look_at_database
from hub.cli.doctor.files import look_at_files
from hub.cli.doctor.finding import Check, Finding
from hub.cli.doctor.machine import look_at_machine
from hub.cli.doctor.models import look_at_engine, look_at_models, look_at_remote_models
from hub.cli.doctor.redis import look_at_redis
from hub.cli.doctor.web import look_at_web
from hub.cli.printing import print_json
from hub.cli.progress import working
from hub.cli.screen import printable
from hub.errors import HubError
from hub.redaction import MASK, without_secrets
from hub.secret_sources.names import values_of
from hub.settings import Settings

__all__ = ["CHECKS", "Finding", "examine", "find", "show_broken_settings"]

LOOK_S = 60.0
SHORTEST_SECRET = 4
"""Shorter ones would mask half of every text; the settings of the hub ask for more."""
MARKS = {"ok": ("ok  ", "green"), "off": ("off ", "dim"), "warn": ("warn", "yellow"), "fail": ("FAIL", "red")}

CHECKS: dict[str, Check] = {
    "machine": look_at_machine,
    "files": look_at_files,
    "redis": look_at_redis,
    "database": look_at_database,
    "engine": look_at_engine,
    "models": look_at_models,
    "remote models": look_at_remote_models,
    "web": look_at_web,
    "telegram": look_at_telegram,
    "email": look_at_email,
}


def examine(settings: Settings, *, as_json: bool) -> None:
    """Print all findings; exit code 1 when something does not work."""
    with working("looking", hidden=as_json) as tell:
        findings = asyncio.run(find(settings, tell))
    _show(findings, as_json=as_json)


def show_broken_settings(error: HubError, *, as_json: bool) -> None:
    """Print why nothing could be looked at; exit code 1."""
    advice = (
        "Correct what is named above in settings.toml, `.env` or the environment; settings.toml of the project holds every "
        "setting with its default."
    )
    finding = Finding(part="settings", state="fail", text=without_secrets(str(error)), advice=advice)
    _show([finding], as_json=as_json)


async def find(settings: Settings, tell: Callable[[str], None] = lambda _: None) -> list[Finding]:
    """Look at every part; one that breaks the look itself is a finding too.

    Args:
        tell: hears where is being looked.
    """
    findings = [Finding(part="settings", state="ok", text="read without faults")]
    for part, check in CHECKS.items():
        tell(f"looking: {part}")
        findings += await _looked(part, check, settings)
    secrets = sorted(set(secrets_of(settings)), key=len, reverse=True)
    return [_without(secrets, finding) for finding in findings]


async def _looked(part: str, check: Check, settings: Settings) -> list[Finding]:
    try:
        async with asyncio.timeout(LOOK_S):
            return await check(settings)
    except HubError as error:
        text, advice = str(error), "Correct what the text names, and run `hubbub doctor` again."
    except TimeoutError:
        text, advice = (
            f"no answer within {LOOK_S:.0f} s",
            "See whether the server that it asks is overloaded, and run `hubbub doctor` again.",
        )
    except Exception as error:
        text, advice = (
            f"{type(error).__name__}: {error}",
            "Correct what the text names, and run `hubbub doctor` again.",
        )
    return [Finding(part=part, state="fail", text=text, advice=advice)]


def secrets_of(settings: Settings) -> Iterator[str]:
    """Give every secret of the settings, and the passwords within their URLs."""
    for secret in values_of(settings):
        password = _password_in(secret)
        yield from (part for part in (secret, password, unquote(password)) if len(part) >= SHORTEST_SECRET)


def _password_in(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:
        return ""


def _without(secrets: Sequence[str], finding: Finding) -> Finding:
    text, advice = without_secrets(finding.text), finding.advice
    for secret in secrets:
        text, advice = text.replace(secret, MASK), advice.replace(secret, MASK)
    return replace(finding, text=text, advice=advice)


def _show(findings: Sequence[Finding], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        console = Console()
        for finding in findings:
            mark, colour = MARKS[finding.state]
            console.print(f"[{colour}]{mark}[/] {finding.part}: ", end="", highlight=False)
            console.print(printable(finding.text), markup=False, highlight=False)
            if finding.advice:
                console.print(
                    f"       {printable(finding.advice)}", style=colour, markup=False, highlight=False
                )
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(1)
