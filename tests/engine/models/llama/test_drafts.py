"""Guessed tokens: found in what was said, and used only where they make a step cheaper."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.models.base import Prompt, Requester
from engine.models.llama.costs import StepCosts
from engine.models.llama.drafts import LONGEST, Guesses, draft_length, look_up
from tests.engine.models.llama.asking import answer, small_model

QUOTED = (
    "The shop in Lisbon opens at nine in the morning. It closes at six, on Saturdays at one. A tram ticket costs two "
    "euros and is valid for ninety minutes. Children under six travel free."
)
NEW_TOKENS = 40


def _text(*tokens: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(tokens, np.int32)


def test_what_followed_the_last_words_before_is_guessed() -> None:
    """The latest place counts, and three equal tokens count more than two."""
    assert look_up(_text(1, 2, 3, 4, 5, 9, 2, 3), 2).tolist() == [4, 5]
    assert look_up(_text(2, 3, 7, 0, 2, 3, 8, 0, 2, 3), 1).tolist() == [8]
    assert look_up(_text(1, 2, 3, 7, 0, 2, 3, 8, 1, 2, 3), 1).tolist() == [7]
    assert look_up(_text(5, 5, 5, 5), 3).tolist() == [5]


@pytest.mark.parametrize("text", [(), (1,), (1, 1), (1, 2, 3), (1, 2, 3, 2)])
def test_nothing_is_guessed_from_what_never_came_before(text: tuple[int, ...]) -> None:
    """A single equal token is no ground."""
    assert look_up(_text(*text), LONGEST).size == 0


@given(st.lists(st.integers(0, 3), max_size=20), st.integers(0, LONGEST))
def test_a_guess_stands_behind_an_equal_place(text: list[int], most: int) -> None:
    """Whatever the text."""
    guess = look_up(_text(*text), most).tolist()

    places = [
        at for at in range(2, len(text)) if text[at - 2 : at] == text[-2:] and text[at:][:most] == guess
    ]
    assert len(guess) <= most
    assert not guess or places


def test_guesses_are_measured_without_being_used() -> None:
    """The share follows what came true; a step without a guess changes nothing."""
    guesses = Guesses()
    for _ in range(50):
        guesses.expect(7)
        guesses.observe(7)
    sure = guesses.share
    guesses.observe(3)
    unchanged = guesses.share
    for _ in range(50):
        guesses.expect(7)
        guesses.observe(8)

    assert sure == unchanged > 0.9
    assert guesses.share < 0.1


def _costs(*, step_s: float, token_s: float) -> StepCosts:
    costs = StepCosts()
    for answers in (1, 2, 4, 8) * 20:
        costs.observe(0, answers, step_s + answers * token_s)
    return costs


def test_no_draft_where_every_token_costs_a_step() -> None:
    """Where computing is the limit, two tokens take twice as long."""
    assert draft_length(0.9, 1, _costs(step_s=0.0001, token_s=0.01)) == 0


def test_long_drafts_where_more_tokens_cost_nothing() -> None:
    """Where reading the weights is the limit; the surer, the longer."""
    costs = _costs(step_s=0.05, token_s=0.002)

    assert draft_length(0.9, 1, costs) == LONGEST
    assert 0 < draft_length(0.6, 1, costs) < LONGEST


def test_no_draft_on_weak_ground() -> None:
    """A second token takes nearly as long as the first, however cheap further ones are."""
    costs = _costs(step_s=0.05, token_s=0.0005)

    assert draft_length(0.2, 1, costs) == 0
    assert draft_length(0.2, 2, costs) == 0


def test_no_draft_in_a_full_batch() -> None:
    """With many answers a step computes as much as it can anyhow."""
    costs = _costs(step_s=0.01, token_s=0.001)

    assert draft_length(0.7, 1, costs) > 0
    assert draft_length(0.7, 60, costs) == 0


async def test_guessing_changes_no_answer_and_saves_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quotation comes out the same, token by token, in far fewer steps: guesses were accepted."""
    asked = Prompt(text=f"{QUOTED}\n\n{QUOTED}\n\nThe shop in")
    said, steps = [], []
    async with small_model(parallel=2) as model:
        for length in (0, LONGEST):
            monkeypatch.setattr("engine.models.llama.step.draft_length", lambda *_, length=length: length)
            monkeypatch.setattr("engine.models.llama.step.is_hopeless", lambda *_: False)
            before = await model.statistics()
            # Another audience: nothing of the first answer is known.
            text, _ = await answer(model, asked, Requester(audience=str(length)), tokens=NEW_TOKENS)
            said.append(text)
            steps.append((await model.statistics()).steps - before.steps)

    assert said[0] == said[1]
    assert said[0].strip() in QUOTED
    assert steps[0] >= NEW_TOKENS
    assert steps[1] <= NEW_TOKENS // 2
