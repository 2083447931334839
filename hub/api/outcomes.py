"""What a client is told of a turn that ended without an answer."""

from hub.api.problems import RETRY_S, Problem, unavailable
from hub.api.replies import Outcome

_STATUS = {"model_not_found": 404, "option_refused": 400, "context_length_exceeded": 400, "blocked": 400}
"""Of requests that another request can put right."""


def problem_of(outcome: Outcome) -> Problem | None:
    """Turn the end of a turn into an error; None when it is an answer or a notice."""
    if outcome.kind == "cancelled":
        return Problem(409, "cancelled", "This request was cancelled; it has no answer.")
    if outcome.kind != "error":
        return None
    if status := _STATUS.get(outcome.code):
        return Problem(status, outcome.code, outcome.text)
    if outcome.code in ("model_unavailable", "model_busy"):
        return unavailable(outcome.text, code=outcome.code, retry_after_s=outcome.retry_after_s or RETRY_S)
    return Problem(502, "not_answered", outcome.text)
