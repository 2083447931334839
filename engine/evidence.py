"""From passages to the few statements that matter for a question; what an answer may rest on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.text import Block, blocks, content_stems, names, numbers, stem, words
from knowledge.passages import Passage, Retriever

_OVERLAP_WEIGHT = 0.25
_UNKNOWN_WORD_MARGIN = 0.15
_SCORE_MARGIN = 0.26
_MAX_BLOCKS = 48
"""Blocks of all passages that are looked at; embedding them takes about 3 ms each on two cores."""
_MARKDOWN = (
    (re.compile(r"!\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"(\*\*|__|`)(.+?)\1"), r"\2"),
    (re.compile(r"(?<!\w)[*_](\S(?:[^*_]*\S)?)[*_](?!\w)"), r"\1"),
    (re.compile(r"\[\d{1,3}\]"), ""),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A block of a passage, weighed against the question."""

    passage: Passage
    position: int
    """Place of the block within its passage."""
    block: Block
    similarity: float
    """Cosine to the question, with the passage's heading taken into account."""
    overlap: float
    """Share of the question's content words that occur in the block or its heading, 0 to 1."""

    @property
    def score(self) -> float:
        """Similarity raised by the words shared with the question."""
        return self.similarity + _OVERLAP_WEIGHT * self.overlap

    @property
    def with_context(self) -> str:
        """The plain text behind the titles it stands under."""
        return f"{self.passage.title} {self.passage.heading} {self.plain}"

    @property
    def plain(self) -> str:
        """The text without Markdown marks, on one line."""
        return plain(self.block.text)


def plain(text: str) -> str:
    """Drop Markdown marks and footnote numbers, and write the text on one line."""
    for pattern, replacement in _MARKDOWN:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())


async def weigh_statements(
    retriever: Retriever, question: str, passages: Sequence[Passage]
) -> list[Statement]:
    """Split passages into statements and weigh each against the question, best first."""
    pieces = [
        (passage, position, block)
        for passage in passages
        for position, block in enumerate(blocks(passage.text))
        if content_stems(block.text)
    ][:_MAX_BLOCKS]
    if not pieces:
        return []
    texts = [f"{_last_heading(passage)}{plain(block.text)}" for passage, _, block in pieces]
    vectors = await retriever.embed([question, *texts])
    similarities = np.asarray(vectors[1:] @ vectors[0], dtype=np.float64)
    asked = content_stems(question)
    weighed = [
        Statement(
            passage=passage,
            position=position,
            block=block,
            similarity=float(similarity),
            overlap=_share(asked, content_stems(f"{passage.title} {passage.heading} {block.text}")),
        )
        for (passage, position, block), similarity in zip(pieces, similarities, strict=True)
    ]
    return sorted(weighed, key=lambda statement: -statement.score)


def is_answered_by(question: str, statements: Sequence[Statement], min_score: float) -> bool:
    """Whether these statements, best first, plausibly hold the answer to a question.

    A name or a number that the passages never mention is what the question is about: near passages about
    something else are no answer to it. Where only an ordinary word is missing, the statement must be closer.
    """
    if not statements:
        return False
    known = words(" ".join(statement.with_context for statement in statements))
    stems = {stem(word) for word in known}
    if not numbers(question) <= set(known) or not names(question) <= stems:
        return False
    least = min_score + (0.0 if content_stems(question) <= stems else _UNKNOWN_WORD_MARGIN)
    best = statements[0]
    return best.similarity >= least and best.score >= min_score + _SCORE_MARGIN


def _last_heading(passage: Passage) -> str:
    heading = passage.heading.rsplit(" > ", 1)[-1] or passage.title
    return f"{heading}: " if heading else ""


def _share(asked: set[str], found: set[str]) -> float:
    return len(asked & found) / len(asked) if asked else 0.0
