"""Turns bytes into a document and its chunks, in several limited processes at once.

What is crafted to crash, to exhaust or to take over its reader does so to a process that holds nothing, and is
reported; the next document gets a fresh one.
"""

import asyncio
import contextlib
import threading
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any, Protocol, Self

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from hub.documents import parsing
from hub.errors import DocumentUnreadable, problem_of
from hub.limited.process import LimitedProcess, ProcessFailed
from knowledge.chunks import Chunk, Chunker
from knowledge.sources.base import Content

WORKER = "knowledge.reading_worker"
DEADLINE_S = 150.0
"""For one document, which may be a book of thousands of pages."""
MAX_ANSWER_BYTES = 96 * 2**20


class ReadDocument(BaseModel):
    """A document, cut into chunks."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    title: str
    media_type: str
    version: str
    size_bytes: int
    chunks: tuple[tuple[str, str], ...]
    """Heading path and text of each, in reading order."""

    @property
    def chunk_list(self) -> list[Chunk]:
        """Its chunks."""
        return [Chunk(heading=heading, text=text) for heading, text in self.chunks]


class DocumentReader(Protocol):
    """Reads documents; may be called from any thread, and blocks."""

    def read(self, content: Content) -> ReadDocument:
        """Read one document.

        Raises: DocumentUnreadable: it gives no text.
        """

    def give_up(self) -> None:
        """End what is being read."""


class OwnReader:
    """Reads in this very process: the project's own documents, which nobody else has written."""

    def __init__(self, tokenizer_file: Path, chunk_tokens: int) -> None:
        self._chunker = Chunker(tokenizer_file, chunk_tokens)

    def read(self, content: Content) -> ReadDocument:
        """Read one document."""
        return cut(parsing.parse(content.data, content.name), self._chunker)

    def give_up(self) -> None:
        """Nothing of the project's own takes long."""


class LimitedReader:
    """Reads in limited processes, which are started when they are needed."""

    def __init__(self, processes: int, tokenizer_file: Path, chunk_tokens: int) -> None:
        self._options = {"tokenizer": str(tokenizer_file), "chunk_tokens": chunk_tokens}
        self._processes = [
            LimitedProcess(WORKER, deadline_s=DEADLINE_S, max_answer_bytes=MAX_ANSWER_BYTES)
            for _ in range(processes)
        ]
        # Used like a stack, so that few documents start few processes.
        self._idle = list(reversed(self._processes))
        self._free = threading.Semaphore(processes)
        self._asked: set[Future[Any]] = set()
        self._asking = threading.Lock()
        self._given_up = False
        # A loop of its own: the program's, if it has one, is not in this thread.
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="reading", daemon=True)

    def __enter__(self) -> Self:
        """Get ready; no process is started yet."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give up what is being read, and end the processes."""
        self.give_up()
        for process in self._processes:
            with contextlib.suppress(CancelledError):
                asyncio.run_coroutine_threadsafe(process.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def give_up(self) -> None:
        """End what is being read; from now on nothing is."""
        with self._asking:
            self._given_up = True
            asked = list(self._asked)
        for one in asked:
            one.cancel()

    def read(self, content: Content) -> ReadDocument:
        """Read one document."""
        options = {**self._options, "name": content.name, "charset": content.charset}
        with self._free:
            process = self._idle.pop()
            try:
                answer = self._ask(process, orjson.dumps(options), content.data)
            except ProcessFailed as error:
                raise DocumentUnreadable(f"cannot be read: {error}") from error
            except CancelledError as error:
                raise DocumentUnreadable("was given up") from error
            finally:
                self._idle.append(process)
        if "error" in answer:
            raise DocumentUnreadable(str(answer["error"]), problem_of(answer.get("problem")))
        try:
            return ReadDocument.model_validate(answer)
        except ValidationError as error:
            raise DocumentUnreadable("the process for it answered nonsense") from error

    def _ask(self, process: LimitedProcess, options: bytes, data: bytes) -> dict[str, object]:
        with self._asking:
            if self._given_up:
                raise CancelledError
            asked = asyncio.run_coroutine_threadsafe(process.ask(options, data), self._loop)
            self._asked.add(asked)
        try:
            return asked.result()
        finally:
            self._asked.discard(asked)


def cut(document: parsing.Document, chunker: Chunker) -> ReadDocument:
    """Cut a document into chunks."""
    return ReadDocument(
        title=document.title,
        media_type=document.media_type,
        version=document.version,
        size_bytes=document.size_bytes,
        chunks=tuple((chunk.heading, chunk.text) for chunk in chunker.split(document)),
    )
