"""PDF files that were made to do harm: their text is read, or they are refused, within the limits of the process."""

import zlib

from hub.documents.pdf_worker import MAX_PAGES
from hub.documents.reader import AttachmentReader
from tests.knowledge.files import pdf_file

TEXT = b"BT /F1 12 Tf 50 750 Td (The library opens at nine.) Tj ET"
FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"


def pdf(
    *, pages: int = 1, catalog: bytes = b"", tree: bytes = b"", resources: bytes = b"", more: bytes = b""
) -> bytes:
    """Write a PDF whose pages all say the same.

    Args:
        catalog, tree, resources: further entries of the catalog, of the root of its pages, and of what a page uses.
        more: a sixth object.
    """
    kids = b" ".join(b"%d 0 R" % (number + 6) for number in range(1, pages + 1))
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 3 0 R /Resources 5 0 R >>"
    content = TEXT + (b" q 600 0 0 600 0 0 cm /Im1 Do Q" if more else b"")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R %s >>" % catalog,
        b"<< /Type /Pages /Kids [%s] /Count %d %s >>" % (kids, pages, tree),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        FONT,
        b"<< /Font << /F1 4 0 R >> %s >>" % resources,
        more or b"null",
        *[page] * pages,
    ]
    return pdf_file(objects)


def _image() -> bytes:
    """A picture of 14 GB in a few kilobytes."""
    data = zlib.compress(bytes(1 << 20))
    return (
        b"<< /Type /XObject /Subtype /Image /Width 60000 /Height 60000 /ColorSpace /DeviceCMYK /BitsPerComponent 8"
        b" /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (len(data), data)
    )


HARMLESS = {
    "script": pdf(catalog=b"/OpenAction << /S /JavaScript /JS (app.alert\\(secret\\); while\\(true\\);) >>"),
    "scripts by name": pdf(
        catalog=b"/Names << /JavaScript << /Names [(a) << /S /JavaScript /JS (secret) >>] >> >>"
    ),
    "launch": pdf(catalog=b"/OpenAction << /S /Launch /F (/bin/secret) >>"),
    "deep arrays": pdf(catalog=b"/X " + b"[" * 50_000 + b"]" * 50_000),
    "deep objects": pdf(catalog=b"/X " + b"<< /X " * 50_000 + b"1" + b" >>" * 50_000),
    "picture": pdf(resources=b"/XObject << /Im1 6 0 R >>", more=_image()),
    "many pages told": pdf(tree=b"/Count 100000000"),
}
"""What a reader that shows, runs or keeps all of it would fall over."""


async def test_what_is_crafted_is_read_or_refused_and_never_run() -> None:
    """No script, no action, no picture; too many pages are refused, and the next file is read all the same."""
    reader = AttachmentReader(processes=1, deadline_s=30)
    try:
        found = {name: await reader.read("a.pdf", "", data) for name, data in HARMLESS.items()}
        long = await reader.read("a.pdf", "", pdf(pages=MAX_PAGES + 1))
        after = await reader.read("a.pdf", "", pdf())
    finally:
        await reader.close()

    for name, read in found.items():
        assert read.problem in ("", "damaged", "too_large"), name
        assert "secret" not in read.text, name
        assert read.problem or "The library opens at nine." in read.text, name
    assert {name for name, read in found.items() if not read.problem} >= {"script", "launch", "picture"}
    assert (long.problem, long.text) == ("too_large", "")
    assert (after.problem, after.text) == ("", "page 1\n\nThe library opens at nine.")
