"""The check of a generated answer: each of its sentences must be borne out by one statement it was given."""

import re
from collections.abc import Sequence

from engine.evidence import Statement
from engine.text import content_stems, names, numbers, sentences, stem, words

_NEGATION = re.compile(r"\b(?:not|no|never|none|nothing|cannot|without|neither|nor)\b|n't\b", re.IGNORECASE)


def is_within(text: str, question: str, statements: Sequence[Statement]) -> bool:
    """Whether a text, complete or not, uses no content word but those of the question and the statements.

    The last word is left out: more of it may be on its way.
    """
    complete = text.rpartition(" ")[0]
    known = content_stems(" ".join([question, *(statement.with_context for statement in statements)]))
    return content_stems(complete) <= known


def borne_out(text: str, question: str, statements: Sequence[Statement]) -> dict[str, Statement]:
    """Keep the sentences that a statement bears out, each with that statement, in their order."""
    kept: dict[str, Statement] = {}
    for sentence in sentences(text):
        if statement := next((s for s in statements if bears_out(s, sentence, question)), None):
            kept.setdefault(sentence, statement)
    return kept


def bears_out(statement: Statement, sentence: str, question: str) -> bool:
    """Whether one statement holds what a sentence says.

    Its content words must stand in the statement's passage (a question's own words may be a false premise), its
    names and numbers in the statement itself, and it must say something of the statement that the question did
    not say already. What both question and statement name must be kept: "It opens at nine on weekdays." is no
    answer about Saturday. Nor may the sentence deny what the statement affirms, or affirm what it denies.
    """
    own = statement.plain
    said, asked, held = content_stems(sentence), content_stems(question), content_stems(own)
    if (
        not said <= content_stems(f"{statement.with_context} {statement.passage.text}")
        or not (said & held) - asked
    ):
        return False
    if not (asked & held) | (numbers(question) & numbers(own)) <= said | numbers(sentence):
        return False
    if bool(_NEGATION.search(sentence)) != bool(_NEGATION.search(own)):
        return False
    known = words(statement.with_context)
    return numbers(sentence) <= set(known) | numbers(own) and names(sentence) <= {
        stem(word) for word in known
    }
