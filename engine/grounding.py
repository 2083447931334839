"""The check of a generated answer: each of its sentences must be borne out by one statement it was given."""

import re
from collections.abc import Sequence

from engine.evidence import Statement
from engine.text import content_stems, names, numbers, words

_LEAST_COVER = 0.85
"""Share of an answer's content words that its statement (or the question) must hold."""
_LEAST_NEW = 1
_NEGATION = re.compile(r"\b(?:not|no|never|none|nothing|cannot|without|neither|nor)\b|n't\b", re.IGNORECASE)


def supporting(sentence: str, question: str, statements: Sequence[Statement]) -> Statement | None:
    """Find the statement that bears a sentence out, or None.

    The sentence's names and numbers must all stand in that one statement, nearly all of its other content
    words there or in the question, and it may not deny what the statement affirms.
    """
    best: tuple[float, Statement] | None = None
    for statement in statements:
        cover = _cover(sentence, question, statement)
        if cover >= _LEAST_COVER and (best is None or cover > best[0]):
            best = cover, statement
    return best[1] if best else None


def _cover(sentence: str, question: str, statement: Statement) -> float:
    evidence = f"{statement.passage.title} {statement.passage.heading} {statement.plain}"
    said, asked, known = content_stems(sentence), content_stems(question), content_stems(evidence)
    if not said or bool(_NEGATION.search(sentence)) != bool(_NEGATION.search(statement.plain)):
        return 0.0
    exact = numbers(sentence) | names(sentence)
    if not exact <= numbers(statement.plain) | set(words(evidence)):
        return 0.0
    # What only repeats the question says nothing; something must come from the statement.
    if len((said & content_stems(statement.plain)) - asked) < _LEAST_NEW:
        return 0.0
    return len(said & (known | asked)) / len(said)
