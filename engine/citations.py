"""Claims and the passages they rest on, written as text with `[1]` marks and a list of sources."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.answers import TextSink
from engine.evidence import Statement
from engine.guard.injection import addressed_to_model
from engine.output import clean_output, urls, visible
from engine.text import blocks
from hub.messages import Source
from knowledge.passages import Passage

_MAX_QUOTE_CHARS = 400


@dataclass(frozen=True, slots=True)
class Claim:
    """A piece of an answer with what bears it out; no statement means it needs none."""

    text: str
    statements: tuple[Statement, ...] = ()
    is_block: bool = False
    """A list or code, which stands on lines of its own."""


class CitedText:
    """An answer that grows claim by claim; what was written, and so shown, never changes."""

    def __init__(self, sink: TextSink) -> None:
        self._sink = sink
        self._passages: dict[int, Passage] = {}
        self._statements: dict[int, list[Statement]] = {}
        self._claims: list[Claim] = []
        """Of the paragraph under way."""
        self.text = ""

    async def add(self, claim: Claim) -> None:
        """Write a claim behind the others, a list or code line by line."""
        allowed = urls(_trusted(statement.passage.text) for statement in claim.statements)
        if not (text := clean_output(claim.text, allowed)):
            return
        if self._claims and self._numbers(self._claims[-1]) != self._numbers(claim):
            await self._mark()
        for statement in claim.statements:
            self._passages.setdefault(statement.passage.chunk_id, statement.passage)
            self._statements.setdefault(statement.passage.chunk_id, []).append(statement)
        await self._write(self._gap(claim) + text)
        self._claims.append(claim)

    async def end_paragraph(self) -> None:
        """Write the mark of the last claims; what follows is another paragraph."""
        await self._mark()
        self._claims.clear()

    def sources(self) -> tuple[Source, ...]:
        """Return the passages, numbered in the order of first use."""
        return tuple(
            _source(number, passage, self._statements[chunk])
            for number, (chunk, passage) in enumerate(self._passages.items(), 1)
        )

    def chunk_ids(self) -> list[int]:
        """Return the ids of the passages, in the order of first use."""
        return list(self._passages)

    async def _mark(self) -> None:
        # One mark after a run of claims from the same passages is enough.
        if self._claims and (marks := "".join(f"[{number}]" for number in self._numbers(self._claims[-1]))):
            await self._write(f"\n\n{marks}" if self._claims[-1].is_block else f" {marks}")

    def _gap(self, claim: Claim) -> str:
        if not self.text:
            return ""
        is_apart = not self._claims or claim.is_block or self._claims[-1].is_block
        return "\n\n" if is_apart else " "

    def _numbers(self, claim: Claim) -> list[int]:
        order = list(self._passages)
        used = {statement.passage.chunk_id for statement in claim.statements}
        return sorted(order.index(chunk) + 1 if chunk in self._passages else 0 for chunk in used)

    async def _write(self, text: str) -> None:
        self.text += text
        for line in text.splitlines(keepends=True):
            await self._sink.add(line)


def _source(number: int, passage: Passage, statements: Sequence[Statement]) -> Source:
    ordered = {
        statement.position: statement.plain for statement in sorted(statements, key=lambda s: s.position)
    }
    quote = clean_output(" ".join(ordered.values()), urls([_trusted(passage.text)]))
    return Source(
        number=number,
        title=_line(passage.title) or _line(passage.location),
        location=_line(passage.location),
        heading=_line(passage.heading),
        quote=_line(quote if len(quote) <= _MAX_QUOTE_CHARS else f"{quote[: _MAX_QUOTE_CHARS - 1]}…"),
        score=max(-1.0, min(1.0, passage.score)),
        # An attachment's chunks have negative numbers; nobody keeps it.
        version=passage.version if passage.chunk_id >= 0 else "",
    )


def _trusted(text: str) -> str:
    """Leave out what addresses the model: an address it names is none that the document gives its reader."""
    return "\n".join(block.text for block in blocks(text) if not addressed_to_model(block.text))


def _line(text: str) -> str:
    """Write on one line what is plain already: another look for marks would take underscores of names for some."""
    return " ".join(visible(text).split())
