"""From passages to the few statements that matter for a question; what an answer may rest on."""

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.text import STOP_WORDS, Block, blocks, content_stems, names, numbers, stem, words
from knowledge.audience import ANYONE, Reader
from knowledge.passages import Passage, Retriever, Vectors

Vector = NDArray[np.float32]

_MAX_REMEMBERED = 4096
"""Embedded texts kept: about 6 MB."""
_OVERLAP_WEIGHT = 0.25
_PASSAGE_SHARE, _STATEMENT_SHARE, _WORDS_SHARE = 0.4, 0.4, 0.2
"""What supports an answer: similarity of the passage and of its statement, and the question's words in the passage."""
_SUPPORT_MARGIN = 0.15
"""Above `knowledge.min_score`."""
_SUPPORT_SLACK = 0.1
"""By how much one similarity must be greater to stand for another one."""
_MAX_BLOCKS = 48
"""Blocks of all passages that are looked at; embedding them takes about 3 ms each on two cores."""
_DISTINCTION_WEIGHT = 0.25
_PASSAGE_WEIGHT = 1.5
_HEADING_WEIGHT = 0.4
_LIKE_HEADING = 0.5
_LEAST_FOREIGN_CHARS = 4
_POINTER = re.compile(r"(?:more (?:about|in|on)|see(?: also)?) ", re.IGNORECASE)
"""What only tells where to read on answers nothing."""
_PAST_TIME = re.compile(r"^when (?:was|were|did)\b", re.IGNORECASE)
_DATE = re.compile(
    r"\b(?:1\d|20)\d\d\b|\b(?:january|february|march|april|may|june|july|august|september|october|november|december)\b",
    re.IGNORECASE,
)
_SAME_SENSE = frozenset(
    re.findall(
        r"\w+",
        "a an the is are was were be do does did i me my we our you your it its of will please hello hi so",
    )
)
"""Words by which two questions may differ and still ask the same."""
_HYPOTHETICAL = re.compile(r"\bwould\b", re.IGNORECASE)
_DURATION = re.compile(r"\bhow (?:long|often)\b", re.IGNORECASE)
_MEASURE = re.compile(
    r"\b(?:(?:milli)?seconds?|minutes?|hours?|days?|weeks?|months?|years?|daily|hourly|weekly|once|twice|times|every|each"
    r"|forever|until|always|never|characters?|words?|lines?|pages?|tokens?|bytes?|[kmg]b|metres?|meters?|km|\d+ ?m?s)\b",
    re.IGNORECASE,
)
_PRICE = re.compile(r"\bhow much (?:does|do|is|are)\b", re.IGNORECASE)
_HOW_MANY = re.compile(r"\bhow many (\w+)", re.IGNORECASE)
_CODE_SPAN = re.compile(r"(`+).+?\1")
_EXAMPLE = re.compile(r"\b(?:for example|for instance|e\.g\.|such as|say,)", re.IGNORECASE)
_MARKDOWN = (
    (re.compile(r"!\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"(\*\*|__|`)(.+?)\1"), r"\2"),
    (re.compile(r"(?<!\w)[*_](\S(?:[^*_]*\S)?)[*_](?!\w)"), r"\1"),
    (re.compile(r"\[\d{1,3}\]"), ""),
)
_NO_MARKS = re.compile(
    r"(?<!`)(?P<ticks>`+)(?!`)(?P<code>.{1,500}?)(?<!`)(?P=ticks)(?!`)|\\(?P<mark>[!-/:-@\[\]-`{-~])",
    re.DOTALL,
)
"""Code, and a character behind a backslash; but two backslashes begin a path as often as they are one."""
_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~"
_KEPT = {ord(mark): chr(0xFDD0 + place) for place, mark in enumerate(_PUNCTUATION)}
_KEPT_AS = {ord(kept): chr(mark) for mark, kept in _KEPT.items()}
"""What stands for a character that is no mark, as long as marks are looked for: code points that are none of any text."""


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

    distinction: float = 0.0
    """As `overlap`, of the words alone that do not occur in most of the passages."""
    heading_similarity: float = 0.0
    """Cosine between the question and the passage's own heading."""

    @property
    def rank(self) -> float:
        """Score raised with the passage it stands in, where its heading asks the same, and where it is about more than all
        passages are: a sentence alone seldom says what it is about.
        """
        alike = max(0.0, self.heading_similarity - _LIKE_HEADING)
        # A section that is headed by the question begins with its answer.
        raised = _HEADING_WEIGHT * alike * (1.0 if self.position else 1.3)
        return (
            self.score
            + raised
            + _DISTINCTION_WEIGHT * self.distinction
            + _PASSAGE_WEIGHT * self.passage.score
        )

    @property
    def score(self) -> float:
        """Similarity raised by the words shared with the question."""
        return self.similarity + _OVERLAP_WEIGHT * self.overlap

    @property
    def with_context(self) -> str:
        """The plain text behind the titles it stands under."""
        return f"{self.passage.title} {self.passage.heading} {self.plain}"

    @property
    def is_hypothetical(self) -> bool:
        """Whether it tells what would be: that is no yes or no to what is."""
        return bool(_HYPOTHETICAL.search(self.plain))

    @property
    def plain(self) -> str:
        """The text without Markdown marks, on one line."""
        return plain(self.block.text)

    @property
    def prose(self) -> str:
        """The plain text without what is marked as code."""
        return plain(_CODE_SPAN.sub(" ", self.block.text))

    @property
    def may_be_retold(self) -> bool:
        """Whether the model may say it in other words: no list or code, no example, nothing that introduces a list."""
        is_example = _EXAMPLE.search(self.block.text) or self.block.text.rstrip().endswith((":", "…"))
        return self.block.kind == "sentence" and not is_example


def plain(text: str) -> str:
    """Drop Markdown marks and footnote numbers, and write the text on one line."""
    text = _NO_MARKS.sub(lambda found: (found["code"] or found["mark"]).translate(_KEPT), text)
    for pattern, replacement in _MARKDOWN:
        text = pattern.sub(replacement, text)
    return " ".join(text.translate(_KEPT_AS).split())


class RememberedEmbeddings:
    """A retriever that embeds the same text once: passages come back question after question."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._vectors: OrderedDict[str, Vector] = OrderedDict()

    async def search(self, question: str, k: int, reader: Reader = ANYONE) -> list[Passage]:
        """Find the passages nearest to a question that its reader may see."""
        return await self._retriever.search(question, k, reader)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Turn texts into unit vectors, computing only the unknown ones."""
        found = {text: self._vectors[text] for text in texts if text in self._vectors}
        if new := [text for text in dict.fromkeys(texts) if text not in found]:
            found |= zip(new, await self._retriever.embed(new), strict=True)
        for text in found:
            self._vectors[text] = found[text]
            self._vectors.move_to_end(text)
        while len(self._vectors) > _MAX_REMEMBERED:
            self._vectors.popitem(last=False)
        return np.stack([found[text] for text in texts])


def without_common_words(question: str, passages: Sequence[Passage]) -> str:
    """Leave out of a question what most of the passages found for it name: it tells none of them from the others.

    Returns: nothing where no word is left out, or none that carries meaning is left.
    """
    told = [content_stems(f"{passage.title} {passage.heading} {passage.text}") for passage in passages]
    asked = content_stems(question)
    common = {word for word in asked if 2 * sum(word in stems for stems in told) > len(told)}
    if not common or common == asked:
        return ""
    return " ".join(word for word in words(question) if stem(word) not in common)


async def weigh_statements(
    retriever: Retriever, question: str, passages: Sequence[Passage]
) -> list[Statement]:
    """Split passages into statements and weigh each against the question, best first."""
    pieces = [
        (passage, position, block)
        for passage in passages
        for position, block in enumerate(blocks(passage.text))
        if content_stems(block.text) and not _POINTER.match(block.text)
    ][:_MAX_BLOCKS]
    if not pieces:
        return []
    texts = [_below(_last_heading(passage), plain(block.text)) for passage, _, block in pieces]
    headings = [_last_heading(passage) for passage, _, _ in pieces]
    vectors = await retriever.embed([question, *texts, *headings])
    similarities = np.asarray(vectors[1:] @ vectors[0], dtype=np.float64)
    asked = content_stems(question)
    distinct = content_stems(without_common_words(question, passages))
    weighed = [
        Statement(
            passage=passage,
            position=position,
            block=block,
            similarity=float(similarity),
            overlap=_share(asked, content_stems(f"{passage.title} {passage.heading} {block.text}")),
            distinction=_share(distinct, content_stems(f"{passage.heading} {block.text}")),
            heading_similarity=float(alike),
        )
        for (passage, position, block), similarity, alike in zip(
            pieces, similarities[: len(pieces)], similarities[len(pieces) :], strict=True
        )
    ]
    return sorted(weighed, key=lambda statement: -statement.rank)


def is_answered_by(question: str, statements: Sequence[Statement], min_score: float) -> bool:
    """Whether these statements, best first, plausibly hold the answer to a question.

    A name or a number that the passages never mention is what the question is about: near passages about
    something else are no answer to it. Else the best statement, its passage and the question's words found in that
    passage are weighed together: none of them alone tells near from right.
    """
    if not statements:
        return False
    best = statements[0]
    if is_headed_by(question, best):
        return True
    if not _can_be_answer(question, best) or not _names_the_same(question, statements):
        return False
    asked = content_stems(question)
    own = asked - content_stems(best.passage.title)
    found = content_stems(_whole(best.passage))
    if own and not own & found:
        # The name of the documents' subject alone is in all of them.
        return False
    # What the author wrote over it tells as well what a passage is about.
    headed = best.heading_similarity - _SUPPORT_SLACK
    # A passage that tells of several things lies farther off than the one statement that answers.
    near = max(best.passage.score, best.similarity - _SUPPORT_SLACK, headed)
    support = (
        _PASSAGE_SHARE * near
        + _STATEMENT_SHARE * max(best.similarity, headed)
        + _WORDS_SHARE * _share(asked, found)
    )
    return support >= min_score + _SUPPORT_MARGIN


def _names_the_same(question: str, statements: Sequence[Statement]) -> bool:
    """Whether each name and number of a question occurs in the passages, be it in their code."""
    told = " ".join(
        _whole(passage) for passage in {s.passage.chunk_id: s.passage for s in statements}.values()
    )
    return numbers(question) <= numbers(told) and names(question) <= set(map(stem, words(told)))


def _whole(passage: Passage) -> str:
    return f"{passage.title} {passage.heading} {passage.text}"


def is_headed_by(question: str, statement: Statement) -> bool:
    """Whether a statement stands under the very question, asked in the same words."""
    heading = _last_heading(statement.passage)
    is_asked = heading.endswith("?") and bool(content_stems(question))
    return is_asked and _sense(heading) == _sense(question)


def _sense(question: str) -> set[str]:
    """Return the stems of all words that tell questions apart: "which", "not" and "long" are among them."""
    return {stem(word) for word in words(question) if word not in _SAME_SENSE}


def is_answer_to_foreign(content: Sequence[str], statements: Sequence[Statement], min_score: float) -> bool:
    """Whether statements, best first, are what a question in another language is about.

    Most of its words are unknown, so what it shares with the heading of the best statement must be said there.

    Args:
        content: the question's words that carry meaning.
    """
    if not statements:
        return False
    best = statements[0]
    # Whole words, because English endings cut off another language's words make them look alike.
    heading = (
        set(words(best.passage.heading.rpartition(" > ")[2])) - STOP_WORDS - set(words(best.passage.title))
    )
    shared = {word for word in content if len(word) >= _LEAST_FOREIGN_CHARS and word in heading}
    is_mostly_known = 2 * len(shared) >= len(content)
    return is_mostly_known and max(best.similarity, best.heading_similarity) >= min_score


def _can_be_answer(question: str, statement: Statement) -> bool:
    """Whether a statement holds what is asked for: a date in the past, or how many there are of something."""
    text = statement.plain
    if _PAST_TIME.search(question):
        return bool(_DATE.search(text))
    if _DURATION.search(question):
        return bool(_MEASURE.search(text))
    if _PRICE.search(question):
        return bool(numbers(text)) or "free" in words(text)
    if counted := _HOW_MANY.search(question):
        what = stem(counted.group(1).lower())
        following = words(text)
        places = [place for place, word in enumerate(following) if numbers(word)]
        return any(what in map(stem, following[place + 1 : place + 5]) for place in places)
    return True


def _last_heading(passage: Passage) -> str:
    return passage.heading.rsplit(" > ", 1)[-1] or passage.title


def _below(heading: str, text: str) -> str:
    return f"{heading}: {text}" if heading else text


def _share(asked: set[str], found: set[str]) -> float:
    return len(asked & found) / len(asked) if asked else 0.0
