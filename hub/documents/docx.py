"""Reads Word documents: their headings, paragraphs, lists and tables."""

import io
import stat
import zipfile
from pathlib import PurePosixPath

from hub.documents.markdown import Section, read_markdown
from hub.errors import DocumentUnreadable

MAX_UNPACKED_BYTES = 50 * 2**20
MAX_RATIO = 100
"""Of unpacked to packed bytes; text of a real document reaches about ten."""
MAX_ENTRIES = 10_000
_STYLES = "p[style-name='Title'] => h1:fresh"
"""Beside mammoth's own, which know headings and lists."""


def read_docx(data: bytes) -> tuple[str, list[Section]]:
    """Give the title and the sections of a Word document.

    Raises: DocumentUnreadable: it is damaged, or unpacks to far more than it is.
    """
    _check_archive(data)
    # Both take their time to import.
    import mammoth  # noqa: PLC0415
    from markdownify import markdownify  # noqa: PLC0415

    html = mammoth.convert_to_html(
        io.BytesIO(data), style_map=_STYLES, convert_image=mammoth.images.img_element(_no_image)
    ).value
    return read_markdown(markdownify(html, heading_style="ATX", table_infer_header=True, strip=["img", "a"]))


def _check_archive(data: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            unpacked = sum(entry.file_size for entry in entries)
            is_encrypted = any(entry.flag_bits & 1 for entry in entries)
            names = {entry.filename for entry in entries}
            is_odd = any(_leads_elsewhere(entry) for entry in entries)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise DocumentUnreadable(f"is not a readable Word document: {error}") from error
    if is_encrypted:
        raise DocumentUnreadable("is protected by a password", "encrypted")
    if (
        len(entries) > MAX_ENTRIES
        or unpacked > MAX_UNPACKED_BYTES
        or unpacked > MAX_RATIO * max(len(data), 1)
    ):
        raise DocumentUnreadable("unpacks to too much", "too_large")
    if is_odd:
        # Nothing is unpacked to a path, but no program that writes documents does this.
        raise DocumentUnreadable("holds a link, or a name that leads out of it", "damaged")
    if "[Content_Types].xml" not in names:
        raise DocumentUnreadable("is an archive and no Word document", "unsupported")


def _leads_elsewhere(entry: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    return stat.S_ISLNK(entry.external_attr >> 16) or path.is_absolute() or ".." in path.parts


def _no_image(_: object) -> dict[str, str]:
    return {"src": ""}
