"""Reads files that people attach, in processes that may crash over them."""

import asyncio

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from hub.errors import DocumentUnreadable, problem_of
from hub.limited.process import LimitedProcess, ProcessFailed
from hub.messages import Attachment
from hub.text import normalise

log = structlog.get_logger(__name__)

WORKER = "hub.documents.worker"
MAX_TEXT_CHARS = 40_000
"""Of one file: about 10,000 tokens, more than most context windows hold; a message holds 64 KiB in all."""
MAX_FILE_BYTES = 20 * 2**20
"""Source: Telegram Bot API, getFile: bots can download files of up to 20 MB."""
_MAX_NAME_CHARS = 100


class ReadFile(BaseModel):
    """What the process says of a file."""

    model_config = ConfigDict(frozen=True)

    text: str
    media_type: str
    is_cut: bool


class AttachmentReader:
    """Turns files into attachments; a file that cannot be read becomes one with a problem.

    Args:
        deadline_s: for one file.
        processes: files read at once; each process is started when it is needed.
    """

    def __init__(self, *, deadline_s: float = 20.0, processes: int = 2) -> None:
        self._processes = [LimitedProcess(WORKER, deadline_s=deadline_s) for _ in range(processes)]
        self._idle: asyncio.LifoQueue[LimitedProcess] = asyncio.LifoQueue()
        for process in self._processes:
            self._idle.put_nowait(process)

    async def read(self, name: str, media_type: str, data: bytes) -> Attachment:
        """Read one file.

        Args:
            name: as its sender calls it; any text.
            media_type: as its sender says; only a file whose name tells nothing is read by it.
            data: its bytes.
        """
        shown = normalise(name).replace("\n", " ").strip()[:_MAX_NAME_CHARS] or "file"
        try:
            found = await self._ask(shown, media_type, data)
        except DocumentUnreadable as error:
            log.info("attachment_unreadable", problem=error.problem, size_bytes=len(data))
            return Attachment(
                name=shown, media_type=media_type, size_bytes=len(data), text="", problem=error.problem
            )
        return Attachment(
            name=shown,
            media_type=found.media_type,
            size_bytes=len(data),
            text=found.text,
            is_cut=found.is_cut,
        )

    async def close(self) -> None:
        """Stop the processes."""
        await asyncio.gather(*(process.close() for process in self._processes))

    async def _ask(self, name: str, media_type: str, data: bytes) -> ReadFile:
        if len(data) > MAX_FILE_BYTES:
            raise DocumentUnreadable(f"is larger than {MAX_FILE_BYTES} bytes", "too_large")
        process = await self._idle.get()
        try:
            answer = await process.ask(
                name.encode("utf-8", "replace"), media_type.encode("ascii", "replace"), data
            )
        except ProcessFailed as error:
            raise DocumentUnreadable(
                str(error), "too_large" if "longer" in str(error) else "damaged"
            ) from error
        finally:
            self._idle.put_nowait(process)
        if "error" in answer:
            raise DocumentUnreadable(str(answer["error"]), problem_of(answer.get("problem")))
        try:
            return ReadFile.model_validate(answer)
        except ValidationError as error:
            raise DocumentUnreadable("the process for it answered nonsense") from error
