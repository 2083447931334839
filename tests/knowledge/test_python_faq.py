"""Documentation as Debian's package python3.11-doc brings it: taken in from its HTML, and asked what its headings ask.

The sections are taken in without their headings, so that no question finds its own words.
"""

import html
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from benchmarks.answering.sections import DocumentedSection, sections_of, write_pages
from benchmarks.answering.unanswerable import ABOUT_PYTHON, OFF_TOPIC
from benchmarks.retrieving.corpora import SOURCES
from engine import replies
from hub.settings import KnowledgeSettings, Settings
from knowledge.embedder import Embedder
from knowledge.reading import LimitedReader
from knowledge.search import KnowledgeBase
from knowledge.sources.base import Content
from tests.engine.assistants import make_assistant
from tests.engine.turns import ask
from tests.models import EchoModel

ON_ONE_LOOP = pytest.mark.asyncio(loop_scope="module")
FAQ = next(source for source in SOURCES if source.name == "python-faq")
PAGES = ("design", "general", "library")
LEAST_FOUND = 0.85
"""Of the headings; `python -m benchmarks.retrieval` finds 0.97 of the whole FAQ's among the first five."""
LEAST_DECLINED = 0.8
"""Of questions about Python that the FAQ does not answer; `python -m benchmarks.answers` has 0.97 of them declined."""


@pytest.fixture(scope="module")
def pages() -> dict[str, Path]:
    """The FAQ's pages, by name."""
    found = {page.stem: page for page in Path("/").glob(FAQ.pattern)}
    assert set(PAGES) <= found.keys(), (
        f"these tests read Debian's package {FAQ.package}: apt install {FAQ.package}"
    )
    return found


@pytest.fixture(scope="module")
def sections(pages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[DocumentedSection]:
    """What stands under each heading of some pages."""
    found = sections_of(FAQ, tmp_path_factory.mktemp("nothing"))
    return [section for section in found if section.location.partition("/")[0] in PAGES]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def faq(
    sections: list[DocumentedSection], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[KnowledgeBase]:
    """A knowledge base with these sections and nothing else."""
    folder = tmp_path_factory.mktemp("faq")
    write_pages(sections, folder / "pages")
    (folder / "data").mkdir()
    settings = Settings(_env_file=None, data=folder / "data", knowledge=KnowledgeSettings(bundled_docs=False))
    base = await KnowledgeBase.open(settings)
    await base.ready()
    report = await base.ingest([folder / "pages"])
    assert (report.failed, len(report.added)) == ({}, len(sections))
    yield base
    await base.close()


def test_a_page_is_read_as_it_stands(pages: dict[str, Path], embedder: Embedder) -> None:
    """Each heading with its text, code within fences; neither navigation nor the marks of links."""
    with LimitedReader(1, embedder.tokenizer_file, 220) as reader:
        document = reader.read(Content(data=pages["design"].read_bytes(), name="design.html"))

    markup = pages["design"].read_text("utf-8")
    headings = [
        html.unescape(re.sub("<[^>]+>", "", each))
        for each in re.findall(r"<h2>(?:<a[^>]*>Contents</a>)?(.*?)<a class=.headerlink", markup, re.DOTALL)
    ]
    read = list(dict.fromkeys(heading.partition(" > ")[0] for heading, _ in document.chunks if heading))
    text = "\n".join(text for _, text in document.chunks)
    assert len(headings) > 20
    assert [" ".join(heading.split()) for heading in read] == headings
    assert "Guido van Rossum believes that using indentation for grouping is extremely elegant" in text
    assert "```\nif (x <= y)\n        x++;\n        y--;\nz++;\n```" in text
    assert not re.search("¶|Previous topic|Quick search|Show Source|Copyright", text)


@ON_ONE_LOOP
async def test_headings_find_their_sections(faq: KnowledgeBase, sections: list[DocumentedSection]) -> None:
    """Among the first five passages, for nearly all of them."""
    asked = [section for section in sections if section.question]

    missed = [
        section.question
        for section in asked
        if section.location not in [passage.location for passage in await faq.search(section.question, 5)]
    ]

    assert len(asked) > 50
    assert len(missed) <= (1 - LEAST_FOUND) * len(asked), missed


@ON_ONE_LOOP
async def test_what_the_faq_does_not_say_is_declined(faq: KnowledgeBase) -> None:
    """Everything off its topic, and most of what is beside it; what it does say is told with its section."""
    assistant = make_assistant(EchoModel(), faq)
    beside = ABOUT_PYTHON[::2]

    told = await ask(assistant, "How does Python manage memory?")
    off_topic = {question: (await ask(assistant, question)).text for question in OFF_TOPIC}
    declined = [(await ask(assistant, question)).text == replies.NOT_IN_DOCUMENTS for question in beside]

    assert told.sources[0].location.startswith("design/")
    assert off_topic == dict.fromkeys(OFF_TOPIC, replies.NOT_IN_DOCUMENTS)
    assert sum(declined) >= LEAST_DECLINED * len(beside)
