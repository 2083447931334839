"""What one step computes: which tokens of which requests, within the budget of a batch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.models.llama.batch import Batch
from engine.models.llama.costs import StepCosts
from engine.models.llama.drafts import LONGEST, NO_DRAFT, draft_length, is_hopeless, look_up
from engine.models.llama.request import Request
from engine.models.llama.sequence import Sequence as TokenSequence
from engine.models.llama.vocabulary import Tokens

_LONGEST_S = 0.4
"""What the answers that are running are kept waiting at most, while prompts are computed beside them."""
_FEWEST_TOKENS = 64
"""A step computes at least so many tokens of prompts: with fewer each one costs more."""
_REST = 4
"""Tokens of a prompt that may be left to the next steps; each costs its request a step."""


@dataclass(slots=True, eq=False)
class Piece:
    """The part of a step that belongs to one request."""

    request: Request
    sequence: TokenSequence
    count: int
    """Tokens that are pending."""
    is_answer: bool
    draft: Tokens
    """Guessed tokens after these."""
    row: int = 0
    outputs: int = 0
    """Rows of logits from `row` on, one for each token that can be chosen; none while a prompt has more tokens."""

    @property
    def work(self) -> tuple[int, int]:
        """Tokens of a prompt, and of an answer."""
        return (0, self.count + len(self.draft)) if self.is_answer else (self.count, 0)


@dataclass(frozen=True, slots=True)
class Step:
    """All pieces of a step, in the order of their sequences."""

    pieces: tuple[Piece, ...]
    prompt_tokens: int = 0
    answer_tokens: int = 0
    """Guessed ones included."""

    @property
    def is_mostly_cancelled(self) -> bool:
        """Whether more than half of it is computed for nobody."""
        cancelled = sum(piece.count for piece in self.pieces if piece.request.is_cancelled)
        return 2 * cancelled > self.prompt_tokens + self.answer_tokens

    def write(self, batch: Batch) -> None:
        """Fill a batch."""
        batch.clear()
        for piece in self.pieces:
            sequence = piece.sequence
            tokens = sequence.tokens[sequence.computed : sequence.computed + piece.count]
            if len(piece.draft):
                tokens = np.concatenate([tokens, piece.draft])
            is_ready = piece.count == sequence.pending
            piece.outputs = 1 + len(piece.draft) if is_ready else 0
            piece.row = batch.add(sequence.id, sequence.computed, tokens, outputs=piece.outputs)


NOTHING = Step(())


def plan_step(
    running: Sequence[Request], costs: StepCosts, *, batch_tokens: int, guessed_tokens: int
) -> Step:
    """Choose what to compute next: a token of every running answer, then prompts as far as the budget goes.

    Args:
        running: all that have a sequence; prompts are computed in this order.
        costs: what a step takes.
        batch_tokens: most tokens of a step.
        guessed_tokens: most of them that are guessed.
    """
    answers: list[Request] = []
    prompts: list[Request] = []
    for request in running:
        (prompts if request.is_prefilling else answers).append(request)
    pieces = [_piece(request, 1, is_answer=True) for request in answers]
    room = prompt_budget(len(answers), costs, batch_tokens) if prompts else 0
    beginnings = _level(_fill(prompts, room), is_alone=len(running) == 1)
    prompt_tokens = sum(piece.count for piece in beginnings)
    pieces += beginnings
    guessed = _guess(
        pieces[: len(answers)], costs, min(guessed_tokens, batch_tokens - len(answers) - prompt_tokens)
    )
    pieces.sort(key=lambda piece: piece.sequence.id)
    return Step(tuple(pieces), prompt_tokens, len(answers) + guessed)


def prompt_budget(answers: int, costs: StepCosts, batch_tokens: int) -> int:
    """Count the tokens of prompts that a step computes beside so many answers."""
    room = batch_tokens - answers
    if not answers or not costs.steps:
        return room
    answers_s = costs.step_s(0, answers)
    # However many answer, who waits for the first word gets half of the time.
    affordable = int(max(_LONGEST_S - answers_s, answers_s) / costs.prompt_token_s)
    return min(room, max(_FEWEST_TOKENS, affordable))


def _fill(prompts: Iterable[Request], room: int) -> list[Piece]:
    """Take as much of each prompt, one after the other, as there is room."""
    pieces = []
    for request in prompts:
        piece = _piece(request, room, is_answer=False)
        if piece.count <= 0:
            break
        pieces.append(piece)
        room -= piece.count
    return pieces


def _level(pieces: list[Piece], *, is_alone: bool) -> list[Piece]:
    """Leave the last few tokens of some prompts to the next steps, so that all of a step are equally long.

    llama.cpp computes one token of every sequence together, then as many more as all that have more have in common,
    and what single sequences have beyond that apart: a token or two there take as long as ten elsewhere. One token
    in a step takes no more than one of an answer.
    """
    if is_alone:
        return pieces
    for piece in pieces:
        if piece.sequence.pending <= _REST:
            piece.count = 1
    longer = [piece for piece in pieces if piece.count > 1]
    least = min((piece.count for piece in longer), default=0)
    for piece in longer:
        if piece.count == piece.sequence.pending and piece.count - least <= _REST:
            piece.count = least
    return pieces


def _guess(answers: list[Piece], costs: StepCosts, room: int) -> int:
    """Add guessed tokens to answers where that will probably save steps; returns how many."""
    if not answers or is_hopeless(len(answers), costs):
        return 0
    guessed = 0
    for piece in answers:
        request = piece.request
        if request.sampler is not None:
            continue
        left = request.options.max_tokens - len(request.generated) - 1
        draft = look_up(piece.sequence.tokens[: piece.sequence.planned], min(LONGEST, left))
        if not len(draft):
            continue
        request.guesses.expect(int(draft[0]))
        length = draft_length(request.guesses.share, len(answers), costs)
        piece.draft = draft[: min(length, room - guessed)]
        guessed += len(piece.draft)
    return guessed


def _piece(request: Request, room: int, *, is_answer: bool) -> Piece:
    assert request.sequence is not None
    return Piece(request, request.sequence, min(request.sequence.pending, room), is_answer, NO_DRAFT)
