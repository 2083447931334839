"""A file that is touched for as long as a process works: probes look at it where no HTTP server answers them."""

import asyncio
from pathlib import Path

import structlog

from hub.errors import SettingsError
from hub.waiting import happens

log = structlog.get_logger(__name__)

TOUCH_S = 5.0


class AliveFile:
    """The file that `alive_file` names.

    What an earlier process has left is removed at once: a container that starts again finds the files of its Pod.

    Raises: SettingsError: the file cannot be removed.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path).expanduser()
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise self._unusable(error) from error

    async def keep(self, stop: asyncio.Event) -> None:
        """Touch the file every TOUCH_S until `stop` is set, and remove it then.

        It runs on the loop that does the work: one that hangs lets the file grow old, and one whose Redis is away does not.

        Raises: SettingsError: the file cannot be written.
        """
        try:
            self._path.touch()
        except OSError as error:
            raise self._unusable(error) from error
        while not await happens(stop, within_s=TOUCH_S):
            self._touch_again()
        self._path.unlink(missing_ok=True)

    def _touch_again(self) -> None:
        try:
            self._path.touch()
        except OSError as error:
            log.warning("alive_file_not_touched", error=error.strerror)

    def _unusable(self, error: OSError) -> SettingsError:
        return SettingsError(f"alive_file: {self._path} cannot be used: {error.strerror}")
