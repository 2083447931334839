"""Options that several commands share, and how a command begins."""

import os
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType
from typing import Annotated
from urllib.parse import urlsplit

import typer

from hub.egress.derive import rules_of
from hub.egress.guard import install
from hub.logs import configure_logs
from hub.redaction import know_secrets, without_secrets
from hub.secret_sources.names import values_of
from hub.settings import Settings, load_settings

Data = Annotated[
    Path | None, typer.Option("--data", help="Data folder; the setting `data` otherwise.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
AUDIENCES = "public, operator, site:KEY, person:CHANNEL/ACCOUNT/PERSON or person:ID"
"""How an audience is written; `hub.app.audiences` reads it."""


def hide_in_tracebacks() -> None:
    """Let no traceback on standard error show a secret; logs hide theirs on their own."""

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.stderr.write(without_secrets("".join(traceback.format_exception(kind, error, trace))))

    def show_of_thread(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_value and failed.exc_type is not SystemExit:
            show(failed.exc_type, failed.exc_value, failed.exc_traceback)

    sys.excepthook = show
    threading.excepthook = show_of_thread


class Begun:
    """What the command of this process began with."""

    settings: Settings | None = None


def begin(data: Path | None = None, *, quiet: bool = False) -> Settings:
    """Read the settings, set up logs and let the guard of connections stand; a `quiet` command logs warnings only."""
    # Whatever a command writes into the data folder is what people said: nobody else's to read.
    os.umask(0o077)
    settings = load_settings(data=data)
    log = settings.log.model_copy(update={"level": "warning"}) if quiet else settings.log
    configure_logs(log)
    know_secrets([*values_of(settings), *values_of(settings.provision.hub_token)])
    hide_in_tracebacks()
    guard = install(rules_of(settings), process=next(iter(sys.argv[1:]), "hubbub"))
    if settings.vault.address:
        # It was asked before the settings, and so the guard, were there.
        url = urlsplit(settings.vault.address)
        guard.reach(url.hostname or "", url.port or (443 if url.scheme == "https" else 80))
    Begun.settings = settings
    return settings
