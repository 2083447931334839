"""Options that several commands share, and how a command begins."""

import os
from pathlib import Path
from typing import Annotated

import typer

from hub.logs import configure_logs
from hub.settings import Settings, load_settings

Data = Annotated[
    Path | None, typer.Option("--data", help="Data folder; the setting `data` otherwise.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
AUDIENCES = "public, operator, site:KEY, person:CHANNEL/ACCOUNT/PERSON or person:ID"
"""How an audience is written; `hub.cli.audiences` reads it."""


def begin(data: Path | None = None, *, quiet: bool = False) -> Settings:
    """Read the settings and set up logs; a `quiet` command logs warnings only."""
    # Whatever a command writes into the data folder is what people said: nobody else's to read.
    os.umask(0o077)
    settings = load_settings(data=data)
    log = settings.log.model_copy(update={"level": "warning"}) if quiet else settings.log
    configure_logs(log)
    return settings
