"""The check of a generated answer: each of its sentences must be borne out by one statement it was given."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from engine.evidence import Statement
from engine.questions import asks_number
from engine.text import (
    STOP_WORDS,
    around_numbers,
    content_sequence,
    content_stems,
    names,
    numbers,
    stem,
    words,
)

_NOT = frozenset({"not", "cannot", "neither", "nor"})
_DENIALS = frozenset(
    re.findall(
        r"\w+",
        """no never none nothing nobody nowhere without off only hardly rarely barely seldom instead except unless
        disabled unsupported impossible refuse refuses refused deny denies denied fail fails failed lack lacks""",
    )
)
"""What turns a statement around or limits it."""
_CONDITIONS = frozenset(
    re.findall(
        r"\w+", "unless except only if until otherwise else but most least while when before after without"
    )
)
"""What they bring in limits a statement: without it the rest may be wrong."""
_GLUE = frozenset(
    re.findall(
        r"\w+",
        """the a an is are was were be am it its they you your he she his her of to in on at and that which this these for
        by with as there i my we our has have do does""",
    )
)
"""Words that a retold sentence may bring in."""
_MODALS = frozenset({"should", "must", "may", "might", "can", "could", "would", "shall", "ought", "need"})
_COPULAS = frozenset({"is", "are", "was", "were", "be", "am"})
_CLAUSE_END = re.compile(r"[,;:()–—]|\b(?:and|but|or|while)\b", re.IGNORECASE)
_PUNCTUATION = re.compile(r"[,;:()–—]")
_PARENTHESIS = re.compile(r"\([^()]*\)")

_LONG_SENTENCE = 5
_LEAST_IN_ORDER = 0.85


def nearest_to(sentence: str, question: str, statements: Sequence[Statement]) -> Statement:
    """Return the statement that a sentence which did not pass was most likely made from; the best one if in doubt."""
    added = content_stems(sentence) - content_stems(question)
    fitting = [s for s in statements if numbers(sentence) <= numbers(s.plain)]
    return max(fitting or statements[:1], key=lambda s: len(added & content_stems(s.plain)))


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
    """Whether one statement holds what a sentence says, and the sentence leaves out nothing that changes it.

    A sentence may put a statement into the question's terms and shorten it; it may not put together what stands
    apart. A question's own words may be a false premise, so they must stand in the passage.
    """
    own = statement.plain
    said, asked, held = content_stems(sentence), content_stems(question), content_stems(own)
    if not (said & held) - asked or not said <= content_stems(
        f"{statement.with_context} {statement.passage.text}"
    ):
        return False
    # "It opens at nine on weekdays." is no answer about Saturday.
    if not (asked & held) | (numbers(question) & numbers(own)) <= said | numbers(sentence):
        return False
    if asks_number(question) and not numbers(sentence):
        return False
    if not _denies_the_same(sentence, own):
        return False
    if not _conditions(own) <= _conditions(f"{sentence} {question}") or _adds_words(sentence, own, question):
        return False
    if not numbers(sentence) <= numbers(statement.with_context):
        return False
    if not names(sentence) <= {stem(word) for word in words(statement.with_context)}:
        return False
    if _loses_a_modifier(sentence, own) or _moves_a_unit(sentence, own) or _moves_a_number(sentence, own):
        return False
    return _shortens(statement, sentence, asked) and not _picks_one_of_several(own, sentence, asked)


def _denies_the_same(sentence: str, own: str) -> bool:
    """Whether a sentence keeps each denial of a statement, brings in none, and leaves each where it was."""
    said, held = _denials(sentence), _denials(own)
    if Counter(kind for kind, _, _ in said) != Counter(kind for kind, _, _ in held):
        return False
    return all(
        any(
            kind == other and (after == follows if follows else before == precedes)
            for other, precedes, follows in held
        )
        for kind, before, after in said
    )


def _denials(text: str) -> list[tuple[str, str, str]]:
    """Find each denial with the word of meaning before it and the one behind it, within the same clause."""
    found: list[tuple[str, str, str]] = []
    for part in _CLAUSE_END.split(text):
        said = words(part)
        for place, word in enumerate(said):
            if kind := _denial(word):
                before, after = (
                    content_sequence(" ".join(said[:place])),
                    content_sequence(" ".join(said[place + 1 :])),
                )
                found.append((kind, before[-1] if before else "", after[0] if after else ""))
    return found


def _denial(word: str) -> str:
    if word in _NOT or word.endswith("n't"):
        return "not"
    return word if word in _DENIALS else ""


def _conditions(text: str) -> frozenset[str]:
    return _CONDITIONS.intersection(words(text))


def _adds_words(sentence: str, own: str, question: str) -> bool:
    """Whether a sentence brings in a verb or a degree of its own: "made", "must", "more".

    What one should or may do is never taken from the question: "Leave by the east staircase." is an instruction,
    and no sentence with "should" says all of it.
    """
    known = {stem(word) for word in words(f"{own} {question}")}
    said, held = set(words(sentence)), set(words(own))
    if (said & _MODALS) - held or ((said & _COPULAS) and not held & _COPULAS and _names_more(sentence, own)):
        return True
    return any(stem(word) not in known for word in said & STOP_WORDS - _GLUE)


def _names_more(sentence: str, own: str) -> bool:
    """Whether a sentence speaks of something that the statement itself does not name: "The fire is ..."."""
    return not content_stems(sentence) <= content_stems(own)


def _shortens(statement: Statement, sentence: str, asked: set[str]) -> bool:
    """Whether what a sentence tells stands in one piece in what the statement says itself, code left out.

    A value within code is an example as often as a fact.
    """
    heading = content_stems(f"{statement.passage.title} {statement.passage.heading}")
    prose = statement.prose
    for evidence in (prose, _PARENTHESIS.sub(" ", prose)):
        source = content_sequence(evidence)
        added = [word for word in content_sequence(sentence) if word not in asked]
        told = [word for word in added if word in source or word not in heading]
        rest = [word for word in source if word not in asked]
        if _stands_in(told, rest) and _keeps_order(sentence, evidence):
            return True
    return False


def _loses_a_modifier(sentence: str, own: str) -> bool:
    """Whether a word has lost what stands directly before it: "Wrong keys are counted." says nothing about all keys."""
    if words(sentence)[:1] in (["it"], ["they"]):
        # The pronoun stands for what is not repeated.
        return False
    said = content_stems(sentence)
    lost: set[str] = set()
    kept: set[str] = set()
    for part in _PUNCTUATION.split(own):
        last = ""
        for word in words(part):
            root = "" if word in STOP_WORDS else stem(word)
            if root in said:
                (lost if last and last not in said else kept).add(root)
            last = root
    return bool(lost - kept)


def _moves_a_unit(sentence: str, own: str) -> bool:
    """Whether a number has got another unit: "20 in a minute" is not "20 minutes"."""
    return not _measures(sentence) <= _measures(own)


def _moves_a_number(sentence: str, own: str) -> bool:
    """Whether a number is told of what stands behind another one: "8:30 on weekdays, 10:00 on Saturdays"."""
    pieces, found = around_numbers(own)
    stems, told, said = [content_stems(piece) for piece in pieces], content_stems(sentence), numbers(sentence)
    for place, number in enumerate(found):
        others = [other for other in range(place + 1, len(found)) if found[other] not in said]
        if number not in said or not others or found.count(number) > 1:
            continue
        near = set[str]().union(*stems[: others[0] + 1])
        if (set[str]().union(*stems[others[0] + 1 :]) - near) & told:
            return True
    return False


def _measures(text: str) -> set[tuple[str, str]]:
    said = words(text)
    return {
        (number, stem(unit)) for number, unit in pairwise(said) if numbers(number) and unit not in STOP_WORDS
    }


def _stands_in(part: Sequence[str], whole: Sequence[str]) -> bool:
    size = len(part)
    return bool(part) and any(
        list(whole[start : start + size]) == list(part) for start in range(len(whole) - size + 1)
    )


def _picks_one_of_several(own: str, sentence: str, asked: set[str]) -> bool:
    """Whether a sentence tells one of several parallel cases that the question did not choose.

    Such is "A key may make 10 requests in the tier free." where the statement goes on with the other tiers.
    """
    source, told = Counter(content_sequence(own)), Counter(content_sequence(sentence))
    if any(source[word] > max(1, told[word]) for word in asked):
        return True
    if numbers(own) <= numbers(sentence):
        return False
    behind: list[str] = []
    for word in content_sequence(sentence):
        behind = [] if numbers(word) else [*behind, word]
    return any(source[word] == 1 and word not in asked for word in behind)


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
