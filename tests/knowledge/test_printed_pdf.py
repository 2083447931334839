"""A PDF as a browser prints it: embedded fonts, ligatures, columns, a table, a picture and more than one page."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from hub.settings import Settings
from knowledge.embedder import Embedder
from knowledge.reading import LimitedReader
from knowledge.search import KnowledgeBase
from knowledge.sources.base import Content
from tests.browser import chromium

HEADINGS = ("Harbour handbook", "Berths and fees", "Tides", "Storm rules", "Fuel")
ROWS = (
    ("Length", "Berth", "Fee a night"),
    ("up to 8 m", "north quay", "14 euros"),
    ("8 to 12 m", "middle pier", "21 euros"),
    ("over 12 m", "outer wall", "38 euros"),
)
COLUMNS = (
    "The left column tells of high water, which follows the moon and comes fifty minutes later each day.",
    "A difficult offshore wind can fill the basin to the first step of the stairs.",
    "The right column tells of low water, when the inner basin falls dry for about three hours.",
)
PARAGRAPHS = (
    "Every boat is tied up by the harbour master, who lives in the white house.",
    "In a storm the gate of the inner basin is closed as soon as the anemometer shows nine.",
    "Diesel is sold at the yellow pump between ten and noon, and nowhere else.",
)
PAGE = """<html lang="en"><head><title>Harbour handbook</title><style>
body {{ font: 12pt serif; hyphens: none }} .two {{ columns: 2; height: 7em; column-fill: auto }} h2.new {{ break-before: page }}
td, th {{ border: 1px solid }}</style></head><body>
<h1>{headings[0]}</h1><p>{paragraphs[0]}</p><img alt="" width="200" src="data:image/png;base64,{picture}">
<h2>{headings[1]}</h2><table>{table}</table>
<h2>{headings[2]}</h2><div class="two"><p>{columns[0]}</p><p>{columns[1]}</p><p>{columns[2]}</p></div>
<h2 class="new">{headings[3]}</h2><p>{paragraphs[1]}</p><h3>{headings[4]}</h3><p>{paragraphs[2]}</p>
</body></html>"""


def _page(picture: bytes) -> str:
    table = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in ROWS)
    return PAGE.format(
        headings=HEADINGS,
        paragraphs=PARAGRAPHS,
        columns=COLUMNS,
        table=table,
        picture=base64.b64encode(picture).decode(),
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def printed() -> AsyncIterator[bytes]:
    """The page, printed by Chromium."""
    async with chromium() as browser:
        page = await browser.new_page(viewport={"width": 64, "height": 48})
        await page.set_content("<h1>A view of the harbour</h1>")
        picture = await page.screenshot()
        await page.set_content(_page(picture))
        yield await page.pdf(format="A5", print_background=True)


def test_all_its_text_is_read_in_order(printed: bytes, embedder: Embedder) -> None:
    """Headings, cells row by row, one column after the other, each page under its number; nothing of the picture."""
    with LimitedReader(1, embedder.tokenizer_file, 220) as reader:
        document = reader.read(Content(data=printed, name="handbook.pdf"))

    assert b"/Image" in printed
    assert document.title == "Harbour handbook"
    assert {heading for heading, _ in document.chunks} == {"page 1", "page 2"}
    text = " ".join(" ".join(text for _, text in document.chunks).split())
    expected = [
        HEADINGS[0],
        PARAGRAPHS[0],
        HEADINGS[1],
        *(" ".join(row) for row in ROWS),
        HEADINGS[2],
        *COLUMNS,
        HEADINGS[3],
        PARAGRAPHS[1],
        HEADINGS[4],
        PARAGRAPHS[2],
    ]
    assert text == " ".join(expected)


@pytest.mark.parametrize(
    ("question", "answer", "page"),
    [
        ("What is the fee of a berth on the outer wall?", "38 euros", "page 1"),
        ("When is the gate of the inner basin closed?", "nine", "page 2"),
        ("Where is diesel sold?", "yellow pump", "page 2"),
    ],
)
async def test_its_pages_are_found(
    printed: bytes,
    base: KnowledgeBase,
    settings: Settings,
    folder: Path,
    question: str,
    answer: str,
    page: str,
) -> None:
    """Taken in as every document, a question finds the page that tells it."""
    (folder / "handbook.pdf").write_bytes(printed)
    report = await base.ingest([folder])

    found = await base.search(question, 1)

    assert report.failed == {}
    assert found[0].location == "handbook.pdf"
    assert found[0].heading == page
    assert answer in found[0].text
