"""Errors as clients of OpenAI's API read them."""

import orjson
from aiohttp import web

from hub.api.problems import Problem

PREFIX = "/v1/"

_CODES = {"unauthorized": "invalid_api_key", "rate_limited": "rate_limit_exceeded"}
"""Where that API has a word of its own for the same."""
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def speaks_openai(request: web.BaseRequest) -> bool:
    """Tell whether a request is one of OpenAI's API."""
    return request.path.startswith(PREFIX)


def status_of(status: int) -> int:
    """Return the status of that API for one of ours: whatever is wrong with a request's fields is 400 there."""
    return 400 if status == 422 else status


def code_of(code: str) -> str:
    """Return that API's word for one of our codes."""
    return _CODES.get(code, code)


def error_response(problem: Problem) -> web.Response:
    """Answer with an error as the official client expects it."""
    response = web.Response(
        status=status_of(problem.status),
        body=orjson.dumps(error_object(problem)),
        content_type="application/json",
        headers=problem.headers,
    )
    if problem.close:
        response.force_close()
    return response


def error_object(problem: Problem) -> dict[str, object]:
    """Describe an error; of several wrong fields the first one is named."""
    first = problem.errors[0] if problem.errors else None
    message = problem.detail if first is None else f"{first.field}: {first.message}".removeprefix(": ")
    return {
        "error": {
            "message": message,
            "type": _TYPES.get(
                problem.status, "invalid_request_error" if problem.status < 500 else "server_error"
            ),
            "param": (first.field or None) if first else None,
            "code": code_of(problem.code),
        }
    }
