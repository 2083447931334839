"""What of the statements found becomes the answer: steps and sentences quoted, or what the model made of them."""

from collections.abc import Sequence

from engine.citations import Claim
from engine.evidence import Statement, is_headed_by

_MAX_STATEMENTS = 4
_RELEVANT_MARGIN = 0.06
_MAX_STEPS_CHARS = 1500
_MAX_SECTION_CHARS = 350
_QUOTE_MARGIN = 0.12
"""A neighbour of the best statement is quoted along when its score is nearly as good."""


def quoted_steps(statements: Sequence[Statement]) -> tuple[Claim, ...]:
    """Quote instructions as they stand in the passage that fits best; nothing where it holds no steps."""
    best = max(statements, key=lambda s: s.rank)
    own = sorted((s for s in statements if s.passage == best.passage), key=lambda s: s.position)
    steps = [s.position for s in own if s.block.kind in ("list", "code")]
    if not steps:
        return ()
    first, last = min(steps), max(steps)
    claims: list[Claim] = []
    size = 0
    for statement in own:
        # The sentence before the first step introduces it.
        if first - 1 <= statement.position <= last or statement is best:
            size += len(statement.block.text)
            if claims and size > _MAX_STEPS_CHARS:
                break
            claims.append(quote(statement))
    return tuple(claims)


def quoted_section(statements: Sequence[Statement]) -> tuple[Claim, ...]:
    """Quote the whole passage of the best statement where it is short: how something is done takes its context."""
    own = sorted((s for s in statements if s.passage == statements[0].passage), key=lambda s: s.position)
    if sum(len(s.block.text) for s in own) > _MAX_SECTION_CHARS:
        return quoted_sentences(statements)
    return tuple(quote(s) for s in own)


def section_headed_by(question: str, statements: Sequence[Statement]) -> list[Statement]:
    """Choose the statements that stand under the very question, in their order; nothing where there is none."""
    headed = [s for s in statements if is_headed_by(question, s)]
    # A long section is cut into several passages: it begins with the first of them.
    first = min((s.passage.chunk_id for s in headed), default=0)
    return sorted((s for s in headed if s.passage.chunk_id == first), key=lambda s: s.position)


def quoted_opening(section: Sequence[Statement]) -> tuple[Claim, ...]:
    """Quote a section: all of it where it is short, else its first statements."""
    size, claims = 0, list[Claim]()
    for statement in section:
        size += len(statement.block.text)
        if claims and size > _MAX_SECTION_CHARS and not _introduces(claims[-1].statements[0]):
            break
        claims.append(quote(statement))
    return tuple(claims)


def quoted_sentences(statements: Sequence[Statement]) -> tuple[Claim, ...]:
    """Quote the best statement, with what it introduces, or else a neighbour that fits the question nearly as well."""
    best = statements[0]
    own = {s.position: s for s in statements if s.passage == best.passage}
    if best.block.kind == "row":
        return (quote(best),)
    if best.block.kind == "list" and (before := own.get(best.position - 1)) and _introduces(before):
        return quote(before), quote(best)
    if _introduces(best) and (following := own.get(best.position + 1)):
        return quote(best), quote(following)
    near = [
        s
        for s in statements[1:]
        if s.passage == best.passage
        and abs(s.position - best.position) == 1
        and s.block.kind == "sentence"
        and best.score - s.score <= _QUOTE_MARGIN
    ]
    return tuple(quote(s) for s in sorted([best, *near[:1]], key=lambda s: s.position))


def _introduces(statement: Statement) -> bool:
    return statement.block.kind == "sentence" and statement.block.text.rstrip().endswith(":")


def quote(statement: Statement) -> Claim:
    """Return a statement as it stands in its document."""
    if statement.block.kind in ("sentence", "row"):
        return Claim(" ".join(statement.block.text.split()), (statement,))
    return Claim(statement.block.text, (statement,), is_block=True)


def retold(statements: Sequence[Statement]) -> list[Statement]:
    """Choose what the model may answer from: what fits as well as the best statement; nothing where that is only quoted."""
    if not statements[0].may_be_retold:
        return []
    least = statements[0].rank - _RELEVANT_MARGIN
    return [s for s in statements[:_MAX_STATEMENTS] if s.rank >= least and s.may_be_retold]
