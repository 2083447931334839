"""The command `hubbub`; each group of commands is a module that is imported when it is used."""

import sys

from hub.errors import HubError, SettingsError


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, 1 it failed, 2 the settings or the arguments are wrong.
    """
    from hub.cli.commands import app  # noqa: PLC0415 - keeps `import hub.cli` free of typer

    try:
        app()
    except SettingsError as error:
        _explain(error)
        sys.exit(2)
    except HubError as error:
        _explain(error)
        sys.exit(1)


def _explain(error: HubError) -> None:
    sys.stderr.write(f"hubbub: {error}\n")
