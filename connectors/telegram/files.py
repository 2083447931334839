"""Files of a message: documents are fetched and turned into text, everything else is named as unreadable."""

import asyncio
from collections.abc import Sequence
from typing import Literal

import structlog

from connectors.base import AttachmentReader
from connectors.telegram.client import Client, FileTooLarge
from connectors.telegram.events import RemoteFile
from hub.errors import ConnectorError
from hub.messages import Attachment

log = structlog.get_logger(__name__)

MAX_FILE_BYTES = 20 * 1024 * 1024
"""Source: https://core.telegram.org/bots/api#getfile, "bots can download files of up to 20MB in size"."""
READ_TIMEOUT_S = 20.0
"""For all files of a message together: Telegram hangs up on a webhook that has not answered within 60 s."""
MAX_AT_ONCE = 4
"""Files in memory at once, however many chats send some."""

Problem = Literal["unsupported", "too_large", "damaged", "unreachable"]


class Files:
    """Reads files of messages.

    Args:
        reader: turns content into text; None leaves every file unread.
    """

    def __init__(self, client: Client, reader: AttachmentReader | None) -> None:
        self._client = client
        self._reader = reader
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)

    async def read(self, files: Sequence[RemoteFile]) -> tuple[Attachment, ...]:
        """Return the files with their text or their problem, in the same order, within READ_TIMEOUT_S."""
        return tuple(await asyncio.gather(*(self._attachment(file) for file in files)))

    async def _attachment(self, file: RemoteFile) -> Attachment:
        if not file.is_document or self._reader is None:
            return _unread(file, "unsupported")
        if file.size_bytes > MAX_FILE_BYTES:
            return _unread(file, "too_large")
        try:
            async with asyncio.timeout(READ_TIMEOUT_S), self._slots:
                data = await self._client.download(file.file_id, MAX_FILE_BYTES)
                return await self._reader.read(file.name, file.media_type, data)
        except FileTooLarge:
            return _unread(file, "too_large")
        except (ConnectorError, TimeoutError) as error:
            log.warning("file_not_fetched", reason=str(error) or "timeout", size_bytes=file.size_bytes)
            return _unread(file, "unreachable")
        except Exception as error:
            # The kind only: an error's text may quote the document. The message itself must not be lost with it.
            log.warning("file_not_read", error=type(error).__name__, size_bytes=file.size_bytes)
            return _unread(file, "damaged")


def _unread(file: RemoteFile, problem: Problem) -> Attachment:
    return Attachment(
        name=file.name, media_type=file.media_type, size_bytes=file.size_bytes, text="", problem=problem
    )
