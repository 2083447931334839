"""The check of a generated answer: each of its sentences must be borne out by one statement it was given."""

import re
from collections.abc import Sequence

from engine.evidence import Statement
from engine.text import content_sequence, content_stems, names, numbers, stem, words

_NEGATION = re.compile(r"\b(?:not|no|never|none|nothing|cannot|without|neither|nor)\b|n't\b", re.IGNORECASE)

_LONG_SENTENCE = 5
_LEAST_IN_ORDER = 0.85
_ASKS_NUMBER = re.compile(
    r"\bhow (?:many|much|old|long|large|big|often|far|tall)\b|\bwhen\b|\bwhat (?:time|year)\b", re.IGNORECASE
)


def is_within(text: str, question: str, statements: Sequence[Statement]) -> bool:
    """Whether a text, complete or not, uses no content word but those of the question and the statements.

    The last word is left out: more of it may be on its way.
    """
    complete = text.rpartition(" ")[0]
    known = content_stems(" ".join([question, *(statement.with_context for statement in statements)]))
    return content_stems(complete) <= known


class Check:
    """Checks the sentences of one answer as they come.

    All rest on the passage of the first one: what a small model adds from elsewhere is beside the point.
    """

    def __init__(self, question: str, statements: Sequence[Statement]) -> None:
        self._question = question
        self._statements = statements
        self._passed: set[str] = set()

    def may_go_on(self, text: str) -> bool:
        """Whether a text, complete or not, keeps to the words of the question and the statements."""
        return is_within(text, self._question, self._statements)

    def bearer_of(self, sentence: str) -> Statement | None:
        """Return the statement that bears a sentence out; None where there is none, or it was said before."""
        found = next((s for s in self._statements if bears_out(s, sentence, self._question)), None)
        if found is None or sentence in self._passed:
            return None
        self._passed.add(sentence)
        self._statements = [s for s in self._statements if s.passage == found.passage]
        return found


def bears_out(statement: Statement, sentence: str, question: str) -> bool:
    """Whether one statement holds what a sentence says.

    Its content words must stand in the statement's passage (a question's own words may be a false premise), its
    names and numbers in the statement itself, and it must say something of the statement that the question did
    not say already. What both question and statement name must be kept: "It opens at nine on weekdays." is no
    answer about Saturday. A question for a number wants one. Nor may the sentence deny what the statement affirms, or affirm what it denies.
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
    if _ASKS_NUMBER.search(question) and not numbers(sentence):
        return False
    if bool(_NEGATION.search(sentence)) != bool(_NEGATION.search(own)):
        return False
    if not _keeps_order(sentence, own):
        return False
    if not numbers(sentence) <= numbers(statement.with_context):
        return False
    return names(sentence) <= {stem(word) for word in words(statement.with_context)}


def _keeps_order(sentence: str, evidence: str) -> bool:
    """Whether a longer sentence tells its words in the order of the evidence: shuffled, they say something else."""
    source = content_sequence(evidence)
    told = [word for word in content_sequence(sentence) if word in source]
    if len(told) < _LONG_SENTENCE:
        return True
    # Longest common subsequence, one row of its table at a time.
    row = [0] * (len(source) + 1)
    for word in told:
        diagonal = 0
        for column, known in enumerate(source, 1):
            best = diagonal + 1 if word == known else max(row[column], row[column - 1])
            diagonal, row[column] = row[column], best
    return row[-1] >= _LEAST_IN_ORDER * len(told)
