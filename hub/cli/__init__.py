"""The command `hubbub`; each group of commands is a module that is imported when it is used."""

import os
import sys

from hub.errors import HubError, SettingsError


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, 1 it failed, 2 the settings or the arguments are wrong.
    """
    from hub.cli.commands import app  # noqa: PLC0415 - keeps `import hub.cli` free of typer

    try:
        app(prog_name="hubbub")
    except SettingsError as error:
        _explain(error)
        sys.exit(2)
    except HubError as error:
        _explain(error)
        sys.exit(1)
    except BrokenPipeError:
        # Whoever read it has seen enough, as `head` has; what is still to be written must not fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _explain(HubError(f"{error.filename or 'a file'} cannot be used: {error.strerror or error}"))
        sys.exit(1)
    finally:
        _write_ledger()


def _write_ledger() -> None:
    """Leave where this command has connected to, for `hubbub egress`; what cannot be left now is lost."""
    from hub.cli.options import Begun  # noqa: PLC0415
    from hub.egress.guard import present  # noqa: PLC0415

    guard = present()
    if Begun.settings and guard and guard.ledger.has_news:
        from hub.cli.egress import write_ledger  # noqa: PLC0415

        write_ledger(Begun.settings, guard)


def _explain(error: HubError) -> None:
    from hub.redaction import without_secrets  # noqa: PLC0415

    sys.stderr.write(f"hubbub: {without_secrets(str(error))}\n")
