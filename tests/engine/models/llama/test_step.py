"""What one step computes: an answer's token each, prompts as far as the budget goes, none with a ragged end."""

import asyncio

import numpy as np

from engine.models.base import ANYBODY, GenerateOptions
from engine.models.llama.costs import StepCosts
from engine.models.llama.drafts import LONGEST
from engine.models.llama.request import Request
from engine.models.llama.sequence import Sequence
from engine.models.llama.step import Step, plan_step, prompt_budget
from engine.models.templates import EncodedPrompt


def _request(number: int, pending: int, *, generated: int = 0) -> Request:
    tokens = np.arange(pending, dtype=np.int32)
    sequence = Sequence(number, np.zeros(1024, np.int32))
    sequence.append(tokens)
    request = Request(
        prompt=EncodedPrompt(tokens=tokens, shared=0),
        options=GenerateOptions(max_tokens=64),
        requester=ANYBODY,
        loop=asyncio.new_event_loop(),
    )
    request.loop.close()
    request.sequence = sequence
    request.generated = [7] * generated
    return request


def _plan(*running: Request, batch_tokens: int = 128) -> Step:
    return plan_step(running, StepCosts(), batch_tokens=batch_tokens, guessed_tokens=0)


def _counts(step: Step) -> list[int]:
    return [piece.count for piece in step.pieces]


def test_prompts_of_nearly_the_same_length_end_together() -> None:
    """What some have beyond the others is left to the next steps, where it costs no more than an answer's token."""
    step = _plan(_request(0, 20), _request(1, 23), _request(2, 21))

    assert _counts(step) == [20, 20, 20]
    assert step.prompt_tokens == 60


def test_the_rest_of_a_prompt_goes_along_with_the_answers() -> None:
    """One token of it in each step, beside answers and the beginnings of others."""
    step = _plan(_request(0, 1, generated=3), _request(1, 3), _request(2, 40))

    assert _counts(step) == [1, 1, 40]
    assert (step.prompt_tokens, step.answer_tokens) == (41, 1)


def test_a_prompt_alone_is_computed_at_once() -> None:
    """Nobody else would have anything of its waiting."""
    assert _counts(_plan(_request(0, 3))) == [3]
    assert _counts(_plan(_request(0, 200))) == [128]


def test_a_much_longer_prompt_is_not_held_back_by_a_short_one() -> None:
    """It gets what room there is."""
    assert _counts(_plan(_request(0, 20), _request(1, 90))) == [20, 90]
    assert _counts(_plan(_request(0, 20), _request(1, 500))) == [20, 108]


def test_however_many_answer_prompts_get_half_of_the_time() -> None:
    """Who waits for the first word does not wait for all the others to end."""
    costs = StepCosts()
    for answers in (1, 16, 64, 128) * 20:
        costs.observe(0, answers, 0.005 + 0.003 * answers)
        costs.observe(64, answers, 0.005 + 0.003 * answers + 0.003 * 64)

    few, many = prompt_budget(8, costs, 1000), prompt_budget(128, costs, 1000)

    assert 100 < few < 140
    assert 110 < many < 140
    assert prompt_budget(0, costs, 1000) == 1000


def _sure_request() -> Request:
    """A greedy answer that says the same again and again, as was guessed each time."""
    request = _request(0, 1, generated=30)
    assert request.sequence is not None
    request.sequence.append(np.tile(np.arange(12, dtype=np.int32), 3))
    request.sequence.computed = request.sequence.planned - 1
    for _ in range(40):
        request.guesses.expect(7)
        request.guesses.observe(7)
    return request


def _guessed(costs: StepCosts) -> int:
    return plan_step([_sure_request()], costs, batch_tokens=128, guessed_tokens=16).answer_tokens - 1


def test_guesses_are_tried_where_nothing_says_what_they_cost() -> None:
    """Quick steps of one token each look as if the token was all they took; on a GPU further ones cost nothing."""
    costs = StepCosts()
    for _ in range(300):
        costs.observe(0, 1, 0.003)
    assert _guessed(costs) == LONGEST

    costs.observe(0, 1 + LONGEST, 0.0031)
    assert _guessed(costs) == LONGEST


def test_guesses_that_cost_as_much_as_steps_are_not_tried_again() -> None:
    """Until what was seen of them has faded away."""
    costs = StepCosts()
    for _ in range(300):
        costs.observe(0, 1, 0.003)
    costs.observe(0, 1 + LONGEST, 0.003 * (1 + LONGEST))
    tried = []
    for _ in range(260):
        costs.observe(0, 1, 0.003)
        tried.append(_guessed(costs) > 0)

    assert not any(tried[:240])
    assert tried[-1]
