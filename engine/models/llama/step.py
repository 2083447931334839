"""What one step computes: which tokens of which requests, within the budget of a batch."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from engine.models.llama.batch import Batch
from engine.models.llama.costs import StepCosts
from engine.models.llama.request import Request
from engine.models.llama.sequences import Sequence
from engine.models.llama.vocabulary import Tokens

_LONGEST_S = 0.3
"""What the answers that are running are kept waiting at most, while prompts are computed beside them."""
_FEWEST_TOKENS = 64
"""A step computes at least so many tokens of prompts: with fewer each one costs more."""

NO_DRAFT: Tokens = np.empty(0, np.int32)


@dataclass(slots=True, eq=False)
class Piece:
    """The part of a step that belongs to one request."""

    request: Request
    sequence: Sequence
    count: int
    """Tokens that are pending."""
    draft: Tokens
    """Guessed tokens after these."""
    row: int = -1
    """First row of logits; -1 when no token is to be chosen yet."""

    @property
    def outputs(self) -> int:
        """Rows of logits that are wanted."""
        return 1 + len(self.draft) if self.count == self.sequence.pending else 0


@dataclass(frozen=True, slots=True)
class Step:
    """All pieces of a step, in the order of their sequences."""

    pieces: tuple[Piece, ...]
    prompt_tokens: int
    answer_tokens: int

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
            row = batch.add(sequence.id, sequence.computed, tokens, outputs=piece.outputs)
            piece.row = row if piece.outputs else -1


NOTHING = Step((), 0, 0)


def plan_step(running: Iterable[Request], costs: StepCosts, batch_tokens: int) -> Step:
    """Choose what to compute next: a token of every running answer, then prompts as far as the budget goes.

    Args:
        running: all that have a sequence; prompts are computed in this order.
        costs: what a step takes.
        batch_tokens: most tokens of a step.
    """
    answers: list[Request] = []
    prompts: list[Request] = []
    for request in running:
        (prompts if request.is_prefilling else answers).append(request)
    pieces = [_piece(request, 1) for request in answers]
    room = prompt_budget(len(answers), costs, batch_tokens) if prompts else 0
    prompt_tokens = 0
    for request in prompts:
        piece = _piece(request, room - prompt_tokens)
        if piece.count <= 0:
            break
        pieces.append(piece)
        prompt_tokens += piece.count
    pieces.sort(key=lambda piece: piece.sequence.id)
    return Step(tuple(pieces), prompt_tokens, len(answers))


def prompt_budget(answers: int, costs: StepCosts, batch_tokens: int) -> int:
    """Count the tokens of prompts that a step computes beside so many answers."""
    room = batch_tokens - answers
    if not answers or not costs.steps:
        return room
    affordable = int((_LONGEST_S - costs.step_s(0, answers)) / costs.prompt_token_s)
    return min(room, max(_FEWEST_TOKENS, affordable))


def _piece(request: Request, room: int) -> Piece:
    assert request.sequence is not None
    return Piece(request, request.sequence, min(request.sequence.pending, room), NO_DRAFT)
