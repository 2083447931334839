"""Claims and the passages they rest on, written as text with `[1]` marks and a list of sources."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.evidence import Statement, plain
from engine.output import clean_output, urls, visible
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


@dataclass(frozen=True, slots=True)
class CitedText:
    """An answer as it is sent."""

    text: str
    sources: tuple[Source, ...]


def cite(paragraphs: Sequence[Sequence[Claim]]) -> CitedText:
    """Write claims as Markdown and number the passages they rest on, in the order of first use."""
    passages: dict[int, Passage] = {}
    quotes: dict[int, list[Statement]] = {}
    texts = []
    for claims in paragraphs:
        for claim in claims:
            for statement in claim.statements:
                passages.setdefault(statement.passage.chunk_id, statement.passage)
                quotes.setdefault(statement.passage.chunk_id, []).append(statement)
        texts.append(_paragraph(claims, list(passages)))
    allowed = urls(passage.text for passage in passages.values())
    sources = tuple(
        _source(number, passage, quotes[chunk]) for number, (chunk, passage) in enumerate(passages.items(), 1)
    )
    return CitedText(clean_output("\n\n".join(texts), allowed), sources)


def _paragraph(claims: Sequence[Claim], order: list[int]) -> str:
    text = ""
    for position, claim in enumerate(claims):
        cited = _numbers(claim, order)
        following = claims[position + 1] if position + 1 < len(claims) else None
        # One mark after a run of claims from the same passages is enough.
        mark = "" if following and _numbers(following, order) == cited else "".join(f"[{n}]" for n in cited)
        if not text:
            text = claim.text
        elif claim.is_block or claims[position - 1].is_block:
            text += f"\n\n{claim.text}"
        else:
            text += f" {claim.text}"
        if mark:
            text += f"\n\n{mark}" if claim.is_block else f" {mark}"
    return text


def _numbers(claim: Claim, order: list[int]) -> list[int]:
    return sorted({order.index(statement.passage.chunk_id) + 1 for statement in claim.statements})


def _source(number: int, passage: Passage, statements: Sequence[Statement]) -> Source:
    ordered = {
        statement.position: statement.plain for statement in sorted(statements, key=lambda s: s.position)
    }
    quote = " ".join(ordered.values())
    return Source(
        number=number,
        title=_line(passage.title) or _line(passage.location),
        location=_line(passage.location),
        heading=_line(passage.heading),
        quote=_line(quote if len(quote) <= _MAX_QUOTE_CHARS else f"{quote[: _MAX_QUOTE_CHARS - 1]}…"),
        score=max(-1.0, min(1.0, passage.score)),
    )


def _line(text: str) -> str:
    return plain(visible(text))
