"""How long one waits: played through with costs that are known."""

import math
from dataclasses import dataclass

import pytest

from engine.models.llama.costs import StepCosts
from engine.models.llama.estimate import AnswerLengths, Job, first_text_s


@dataclass(frozen=True)
class _Known:
    """A step of 10 ms, and 1 ms for each token."""

    prompt_token_s: float = 0.001

    def step_s(self, prompt_tokens: int, answer_tokens: int) -> float:
        return 0.010 + 0.001 * (prompt_tokens + answer_tokens)


def _estimates(running: list[Job], queue: list[Job], parallel: int = 2) -> list[float]:
    return first_text_s(running, queue, _Known(), parallel=parallel, step_tokens=100)


def test_nobody_waiting_needs_no_estimate() -> None:
    """An empty queue has none."""
    assert _estimates([Job(1, 50)], []) == []


def test_who_waits_for_an_answer_to_end_waits_for_its_tokens() -> None:
    """Then for their own prompt."""
    (wait_s,) = _estimates([Job(1, 50)], [Job(100, 10)], parallel=1)

    assert wait_s == pytest.approx(50 * 0.011 + 0.010 + 0.100, rel=0.05)


def test_each_waits_longer_than_the_one_before() -> None:
    """And by about the time an answer takes."""
    waits = _estimates([Job(1, 50), Job(1, 50)], [Job(10, 50) for _ in range(6)])

    assert waits == sorted(waits)
    assert waits[4] - waits[2] == pytest.approx(50 * 0.012, rel=0.3)


def test_a_step_by_step_simulation_agrees() -> None:
    """Answers of several lengths, and prompts that take several steps, one token after another."""
    running, queue = (
        [Job(1, 37), Job(250, 20), Job(1, 90)],
        [Job(130, 40), Job(20, 40), Job(310, 10), Job(5, 5)],
    )

    estimated = _estimates(running, queue, parallel=3)

    assert estimated == pytest.approx(_simulated(running, queue, parallel=3, step_tokens=100), rel=0.1)


def _simulated(running: list[Job], queue: list[Job], *, parallel: int, step_tokens: int) -> list[float]:
    slots = [[job.prompt_tokens, job.answer_tokens, -1] for job in running]
    waiting = [[job.prompt_tokens, job.answer_tokens, at] for at, job in enumerate(queue)]
    texts, now = [0.0] * len(queue), 0.0
    while waiting or any(slot[2] >= 0 and not texts[int(slot[2])] for slot in slots):
        while waiting and len(slots) < parallel:
            slots.append(waiting.pop(0))
        answers = [slot for slot in slots if (slot[0] <= 1 and slot[2] < 0) or slot[0] == 0]
        room, computed = step_tokens - len(answers), 0.0
        said = []
        for slot in slots:
            if not any(slot is one for one in answers):
                part = min(slot[0], room - computed)
                slot[0] -= part
                computed += part
                if part and slot[0] == 0:
                    said.append(slot)
        now += _Known().step_s(int(computed), len(answers))
        for slot in said:
            if slot[2] >= 0:
                texts[int(slot[2])] = now
        for slot in answers:
            slot[1] -= 1
        slots = [slot for slot in slots if slot[1] > 0]
    return texts


def test_lengths_are_learned_from_ended_answers() -> None:
    """What was said already leaves only those that became longer."""
    lengths = AnswerLengths()
    for tokens in (10, 10, 10, 90):
        lengths.observe(tokens, is_cut=False)

    assert lengths.expected(200) == 30
    assert lengths.expected(20) == pytest.approx(12.5)
    assert lengths.expected(200, said=10) == 80
    assert 1 <= lengths.expected(200, said=150) <= 50


def test_an_answer_that_was_cut_off_would_have_been_longer() -> None:
    """It tells nothing of how long one is that may go on."""
    lengths = AnswerLengths()
    for tokens in (16, 16, 32):
        lengths.observe(tokens, is_cut=True)
    assert lengths.expected(64) == 64
    assert lengths.expected(16) == 16

    lengths.observe(40, is_cut=False)

    assert lengths.expected(64) == 40
    assert lengths.expected(24, said=8) == 16


def test_before_anything_ended_an_answer_is_of_middling_length() -> None:
    """And never longer than it may be."""
    assert AnswerLengths().expected(20) == 20
    assert AnswerLengths().expected(5_000) < 200


def test_costs_are_learned_from_steps() -> None:
    """Each part of them, from steps that differ; a few odd ones do not matter for long."""
    costs = StepCosts()
    for number in range(200):
        prompt_tokens, answers = (number % 5) * 30, 1 + number % 7
        seconds = 0.004 + 0.0015 * prompt_tokens + 0.006 * answers
        costs.observe(prompt_tokens, answers, seconds * (5 if number == 20 else 1))

    assert math.isclose(costs.prompt_token_s, 0.0015, rel_tol=0.05)
    assert math.isclose(costs.answer_token_s, 0.006, rel_tol=0.1)
    assert math.isclose(costs.step_s(0, 1), 0.010, rel_tol=0.1)


def test_costs_that_were_always_the_same_are_told_as_they_were() -> None:
    """Though nothing tells the parts of them apart."""
    costs = StepCosts()
    for _ in range(50):
        costs.observe(0, 4, 0.080)

    assert costs.step_s(0, 4) == pytest.approx(0.080, rel=0.02)
