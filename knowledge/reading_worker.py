"""The process that reads documents: `python -m knowledge.reading_worker`, started by `LimitedReader`."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from hub.documents.parsing import Document, parse
from hub.limited.worker import Limits, serve
from knowledge.chunks import Chunker
from knowledge.mail import MAIL_SUFFIX, read_mail
from knowledge.reading import cut

LIMITS = Limits(memory_bytes=3 * 2**30, cpu_s=120)


def read(options: bytes, data: bytes) -> dict[str, Any]:
    """Read one document and cut it into chunks.

    Raises: DocumentUnreadable: it gives no text.
    """
    asked = orjson.loads(options)
    document = _document(data, asked["name"], asked["charset"])
    return cut(document, _chunker(asked["tokenizer"], asked["chunk_tokens"])).model_dump()


def _document(data: bytes, name: str, charset: str) -> Document:
    if name.endswith(MAIL_SUFFIX):
        return read_mail(data)
    return parse(data, name, is_isolated=True, charset=charset)


@lru_cache(1)
def _chunker(tokenizer: str, chunk_tokens: int) -> Chunker:
    return Chunker(Path(tokenizer), chunk_tokens)


if __name__ == "__main__":
    serve(read, frames=2, limits=LIMITS)
