"""Answers a question from passages: steps are quoted, facts are said by the model and checked against them."""

from collections.abc import AsyncIterator, Sequence

from engine.citations import Claim
from engine.evidence import Statement, plain
from engine.grounding import supporting
from engine.models.base import ChatModel, GenerateOptions
from engine.output import visible
from engine.profiles import Profile
from engine.prompt import compose, within_budget
from engine.text import sentences

_MAX_STATEMENTS = 4
_MAX_STEPS_CHARS = 1500
_QUOTE_MARGIN = 0.12
"""A neighbour of the best statement is quoted along when its score is nearly as good."""


def quoted_steps(statements: Sequence[Statement]) -> tuple[Claim, ...]:
    """Quote instructions as they stand in the passage that fits best; nothing where it holds no steps."""
    best = max(statements, key=lambda s: s.passage.score + s.score)
    own = sorted((s for s in statements if s.passage == best.passage), key=lambda s: s.position)
    steps = [s.position for s in own if s.block.kind != "sentence"]
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


def quoted_sentences(statements: Sequence[Statement]) -> tuple[Claim, ...]:
    """Quote the best statement, and its neighbour where that fits the question nearly as well."""
    best = statements[0]
    near = [
        s
        for s in statements[1:]
        if s.passage == best.passage
        and abs(s.position - best.position) == 1
        and s.block.kind == "sentence"
        and best.score - s.score <= _QUOTE_MARGIN
    ]
    return tuple(quote(s) for s in sorted([best, *near[:1]], key=lambda s: s.position))


def quote(statement: Statement) -> Claim:
    """Return a statement as it stands in its document."""
    if statement.block.kind == "sentence":
        return Claim(" ".join(statement.block.text.split()), (statement,))
    return Claim(statement.block.text, (statement,), is_block=True)


class DocumentAnswers:
    """Lets the model say what the statements hold, and keeps only what they bear out."""

    def __init__(self, model: ChatModel, profile: Profile, *, max_answer_tokens: int) -> None:
        self._model = model
        self._profile = profile
        self._options = GenerateOptions(max_tokens=max_answer_tokens, stop=profile.stop)

    def facts(self, statements: Sequence[Statement]) -> list[str]:
        """Choose the statements that the model gets to see, as plain text, best first."""
        return within_budget(self._model, [visible(s.plain) for s in statements[:_MAX_STATEMENTS]])

    def stream(self, question: str, facts: Sequence[str]) -> AsyncIterator[str]:
        """Generate an answer to a question from facts."""
        prompt = compose(self._model, self._profile, facts, question, answer_tokens=self._options.max_tokens)
        return self._model.stream(prompt, self._options)

    def checked(self, generated: str, question: str, statements: Sequence[Statement]) -> tuple[Claim, ...]:
        """Keep the generated sentences that a statement bears out, each once."""
        claims: dict[str, Claim] = {}
        for sentence in sentences(plain(visible(generated))):
            if found := supporting(sentence, question, statements[:_MAX_STATEMENTS]):
                claims.setdefault(sentence.lower(), Claim(sentence, (found,)))
        return tuple(claims.values())
