"""Cuts a document's sections into chunks that the embedding model can hold whole."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hub.documents.markdown import Section
from hub.documents.parsing import CODE, DOCX, Document
from knowledge.source_code import code_sections

_MARKDOWN_TYPES = frozenset({"text/markdown", "text/html", DOCX})
"""Types that are read as Markdown."""
_FENCE = re.compile(r"^[ ]{0,3}(?:`{3,}|~{3,})[^`\n]*$", re.MULTILINE)
"""A line that opens or closes a block of code."""
MAX_HEADING_CHARS = 160
"""A heading gets at most about 40 tokens of what is embedded with the text below it."""
MAX_CONTEXT_CHARS = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a document; `text` stands in it literally."""

    heading: str
    text: str

    def embedded(self, title: str) -> "EmbeddedText":
        """Give what is embedded: a chunk alone often does not say what it is about."""
        return embedded_text(title, self.heading, self.text)


@dataclass(frozen=True, slots=True)
class EmbeddedText:
    """What is embedded of a chunk."""

    text: str
    """Its words, below the heading that they stand under."""
    context: str
    """Where that stands: title and the headings above; empty where there are none."""

    @property
    def digest(self) -> str:
        """The hash by which its embedding is found again."""
        return hashlib.sha256(f"{self.context}\0{self.text}".encode()).hexdigest()


def embedded_text(title: str, heading: str, text: str) -> EmbeddedText:
    """Sort title, heading path and text by how they are embedded; what has no heading stands under the title."""
    above, _, own = heading.rpartition(" > ")
    context = " > ".join(part for part in (title, above) if part) if heading else ""
    own = own if heading else title
    return EmbeddedText(
        text=f"{own[:MAX_HEADING_CHARS]}\n{text}" if own else text, context=context[:MAX_CONTEXT_CHARS]
    )


class Chunker:
    """Splits where Markdown or the definitions of code suggest it, counting in the tokens of the embedding model."""

    def __init__(self, tokenizer_file: Path, chunk_tokens: int) -> None:
        from semantic_text_splitter import MarkdownSplitter, TextSplitter  # noqa: PLC0415
        from tokenizers import Tokenizer  # noqa: PLC0415

        tokenizer = Tokenizer.from_file(str(tokenizer_file))
        # Its file tells it to cut at 128 tokens; counting would stop there.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._markdown = MarkdownSplitter.from_huggingface_tokenizer(tokenizer, chunk_tokens)
        self._plain = TextSplitter.from_huggingface_tokenizer(tokenizer, chunk_tokens)

    def split(self, document: Document) -> list[Chunk]:
        """Give the chunks in reading order; none that says nothing, such as the line before a long block of code."""
        splitter = self._markdown if document.media_type in _MARKDOWN_TYPES else self._plain
        sections: Iterable[Section] = document.sections
        if document.media_type == CODE:
            sections = (part for section in sections for part in code_sections(section.text))
        return [
            Chunk(heading=section.heading, text=text)
            for section in sections
            for text in splitter.chunks(section.text)
            if any(map(str.isalnum, _FENCE.sub("", text)))
        ]
