"""The files of the vector index, which keep vectors of removed documents until they are written anew."""

import asyncio
import json
from pathlib import Path

import structlog
from filelock import FileLock

from hub.database import opened
from hub.errors import KnowledgeError

log = structlog.get_logger(__name__)

_PATTERN = "vectors-*.faiss"


class VectorFiles:
    """The index on disk; engines that run hold theirs equal to the database by themselves.

    Args:
        url: of the database.
        folder: of the index.
    """

    name = "vector_files"

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder

    async def compact(self) -> None:
        """Bring the files up to date with the database.

        Raises: KnowledgeError: they cannot be written. DatabaseError: it cannot be read.
        """
        if await asyncio.to_thread(lambda: any(self._folder.glob(_PATTERN))):
            await asyncio.to_thread(self._write)

    def _write(self) -> None:
        # Its libraries take a while to import, and most hubs that erase somebody need none of them.
        from knowledge.index.faiss import MANIFEST, FaissHome  # noqa: PLC0415
        from knowledge.index.keeper import IndexKeeper  # noqa: PLC0415

        try:
            model = str(json.loads((self._folder / MANIFEST).read_bytes())["model"])
        except (OSError, ValueError, KeyError, TypeError):
            self._drop()
            return
        with opened(self._url) as engine:
            keeper = IndexKeeper(engine, FaissHome(folder=self._folder, model=model), model)
            keeper.open()
            if keeper.size:
                keeper.save()
                self._remove_left(MANIFEST)
            else:
                self._drop()

    def _remove_left(self, manifest: str) -> None:
        """Remove what a kill in the middle of writing has left."""
        with FileLock(self._folder / ".lock", timeout=60):
            current = json.loads((self._folder / manifest).read_bytes())["file"]
            for file in self._folder.glob(_PATTERN):
                if file.name != current:
                    file.unlink(missing_ok=True)

    def _drop(self) -> None:
        """Remove files that nothing can be read from, or with nothing to find in them; they are made from the database."""
        try:
            for file in self._folder.glob(_PATTERN):
                file.unlink(missing_ok=True)
        except OSError as error:
            raise KnowledgeError(f"index {self._folder} cannot be removed: {error.strerror}") from error
        log.info("vector_files_removed")
