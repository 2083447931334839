"""Guesses the next tokens of an answer from what was said before, so that one step may confirm several.

Source: A. Saxena, Prompt Lookup Decoding, 2023.
"""

import numpy as np

from engine.models.llama.costs import StepCosts
from engine.models.llama.vocabulary import Tokens

LONGEST = 8
_PROBABLY = 0.5
"""What a guess is worth before anything was seen."""
_LEARN = 0.1
_LEAST_GAIN = 0.1
"""Of the time of a token: less is not worth the risk that costs and shares are not quite what they seem."""
_SECOND_TOKEN = 0.7
"""Of the time of a token that is computed alone: what the second one takes more than further ones.

Measured with llama.cpp on two cores: one token of a sequence 6.4 ms, two 12.3 ms, then 2.2 ms for each."""
_HOPELESS = 0.9
"""Of a step: where its tokens take so much of it, guessing cannot pay."""
_SURE = 0.9
"""Guesses of which so many come true are tried where nothing says what they cost."""
NO_DRAFT: Tokens = np.empty(0, np.int32)


def look_up(text: Tokens, most: int) -> Tokens:
    """Return what followed when the last three tokens of a text, or two of them, were there before.

    Args:
        text: prompt and answer, int32, shape (n,).
        most: so many tokens at most.
    """
    if len(text) < 3 or most < 1:
        return NO_DRAFT
    ends = np.flatnonzero(text[1:-1] == text[-1]) + 1
    ends = ends[text[ends - 1] == text[-2]]
    longer = ends[ends >= 2]
    longer = longer[text[longer - 2] == text[-3]]
    found = longer if len(longer) else ends
    return text[found[-1] + 1 :][:most] if len(found) else NO_DRAFT


class Guesses:
    """How often guesses about one answer come true: measured whether they are used or not."""

    __slots__ = ("_expected", "share")

    def __init__(self) -> None:
        self.share = _PROBABLY
        self._expected = -1

    def expect(self, token: int) -> None:
        """Remember a guess about the next token."""
        self._expected = token

    def observe(self, token: int) -> None:
        """Compare the guess, if there was one, with the token that came."""
        if self._expected >= 0:
            self.share += _LEARN * ((token == self._expected) - self.share)
            self._expected = -1

    def reject(self) -> None:
        """Forget the guess."""
        self._expected = -1


def is_hopeless(answers: int, costs: StepCosts) -> bool:
    """Whether guessing cannot pay, however many guesses come true."""
    return not _is_untried(answers, costs) and costs.answer_token_s * answers > _HOPELESS * costs.step_s(
        0, answers
    )


def draft_length(share: float, answers: int, costs: StepCosts) -> int:
    """Say how many guessed tokens save more time than they take; 0 where guessing would make answers slower.

    Args:
        share: of the guesses that come true.
        answers: in the step.
        costs: what a step takes.
    """
    if share > _SURE and _is_untried(answers, costs):
        return LONGEST
    step_s = costs.step_s(0, answers)
    token_s = step_s / answers
    # Beside other answers the guesses are computed apart from them, as a step of their own would be.
    taken_s = step_s - costs.answer_token_s * answers if answers > 1 else _SECOND_TOKEN * token_s
    saved_s, best, length = 0.0, _LEAST_GAIN * token_s, 0
    for count in range(1, LONGEST + 1):
        taken_s += costs.answer_token_s
        saved_s += share**count * token_s
        if saved_s - taken_s > best:
            best, length = saved_s - taken_s, count
    return length


def _is_untried(answers: int, costs: StepCosts) -> bool:
    """Whether all steps were about as small: then nothing says how much of one its tokens take."""
    return answers <= LONGEST and not costs.has_seen(2 * answers)
