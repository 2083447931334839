"""A program that reads one PDF from its input and writes its text as JSON; it limits itself first."""

import json
import resource
import sys
from typing import Any

MAX_MEMORY_BYTES = 2 * 1024**3
MAX_CPU_S = 90
MAX_PAGES = 5_000
MAX_TEXT_CHARS = 20_000_000


class UnreadablePdf(Exception):
    """The text says what is wrong with it."""


TOO_LONG = f"it has more than {MAX_PAGES} pages"


def main() -> None:
    """Read, and answer `{"title": ..., "pages": [...]}`."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_S, MAX_CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        answer = read(sys.stdin.buffer.read())
    except UnreadablePdf as error:
        sys.exit(str(error))
    sys.stdout.write(json.dumps(answer))


def read(data: bytes) -> dict[str, Any]:
    """Give the title and the text of each page.

    Raises: UnreadablePdf: it is damaged, encrypted or too long.
    """
    import pypdfium2  # noqa: PLC0415 - where there are limits, they come first

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        raise UnreadablePdf(str(error)) from error
    if len(document) > MAX_PAGES:
        raise UnreadablePdf(TOO_LONG)
    pages: list[str] = []
    room = MAX_TEXT_CHARS
    for page in document:
        text = page.get_textpage().get_text_bounded()[:room]
        room -= len(text)
        # PDFium marks a hyphen that only the line break needed.
        pages.append(text.replace("\ufffe\r\n", "").replace("\ufffe", ""))
        page.close()
    return {"title": document.get_metadata_dict().get("Title") or "", "pages": pages}


if __name__ == "__main__":
    main()
