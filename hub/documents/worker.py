"""The process that reads attached files: `python -m hub.documents.worker`, started by `AttachmentReader`."""

from pathlib import PurePath
from typing import Any

from hub.documents.parsing import MEDIA_TYPES, media_type_of, parse
from hub.documents.reader import MAX_TEXT_CHARS
from hub.limited.worker import Limits, serve

LIMITS = Limits(memory_bytes=2**30, cpu_s=20)
_SUFFIXES = {media_type: suffix for suffix, media_type in reversed(MEDIA_TYPES.items())}


def read(name: bytes, media_type: bytes, data: bytes) -> dict[str, Any]:
    """Read one file.

    Raises: DocumentUnreadable: it gives no text.
    """
    document = parse(
        data,
        _with_suffix(name.decode("utf-8", "replace"), media_type.decode("ascii", "replace")),
        is_isolated=True,
    )
    parts = [
        f"{section.heading}\n\n{section.text}" if section.heading else section.text
        for section in document.sections
    ]
    text = "\n\n".join(parts)
    return {
        "text": text[:MAX_TEXT_CHARS],
        "media_type": document.media_type,
        "is_cut": len(text) > MAX_TEXT_CHARS,
    }


def _with_suffix(name: str, media_type: str) -> str:
    """Let the media type count where the name tells nothing."""
    if media_type_of(PurePath(name)) is None and not PurePath(name).suffix:
        return name + _SUFFIXES.get(media_type.partition(";")[0].strip().lower(), "")
    return name


if __name__ == "__main__":
    serve(read, frames=3, limits=LIMITS)
