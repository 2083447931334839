"""Reading what a client sends, strictly: in time, within size, one meaning only."""

import json
import math
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from hub.api.problems import FieldError, Problem, invalid_fields, of_status
from hub.api.routes import check_declared
from hub.http_body import BodyRefused, read_body
from hub.json_depth import is_deeper_than
from hub.settings import ApiSettings

Model = TypeVar("Model", bound=BaseModel)

MAX_DEPTH = 32
MAX_INT_DIGITS = 18
MAX_COMMAS = 20_000
"""Bounds the values in a body before they are made: a million bytes of `[],` would hold everybody up for 400 ms."""
MAX_ERRORS = 10


Handler = TypeVar("Handler", bound=Callable[..., object])


def takes_bodies_of(max_bytes: int) -> Callable[[Handler], Handler]:
    """Let a handler take larger bodies than `api.max_body_bytes`; it counts them itself."""

    def mark(handler: Handler) -> Handler:
        handler.max_body_bytes = max_bytes  # type: ignore[attr-defined]  # functions carry any attribute
        return handler

    return mark


def max_body_bytes(request: web.Request, settings: ApiSettings) -> int:
    """Return the largest body that the request's route takes."""
    return int(getattr(request.match_info.handler, "max_body_bytes", settings.max_body_bytes))


class NotStrict(ValueError):
    """JSON that some readers would take for something else, or that costs too much to read."""


async def read_json(request: web.Request, model: type[Model], settings: ApiSettings) -> Model:
    """Read a body as `model`.

    Raises: Problem: 408, 413, 415, 400 for what is no strict JSON, 422 for what is no `model`.
    """
    check_declared(request, "body", model)
    check_head(request)
    body = await _read(request, settings)
    try:
        value = strict_json(body)
    except NotStrict as error:
        raise Problem(400, "invalid_json", f"The body is no JSON this server takes: {error}.") from None
    return validated(model, value)


def check_head(request: web.Request) -> None:
    """Refuse bodies that are not plain JSON in UTF-8, before any of it is read."""
    charset = request.charset
    is_json = request.headers.get("Content-Type") is not None and request.content_type == "application/json"
    is_utf8 = charset is None or charset.lower() in ("utf-8", "utf8")
    is_plain = request.headers.get("Content-Encoding", "identity").lower() == "identity"
    if not (is_json and is_utf8 and is_plain):
        problem = of_status(415)
        problem.close = True
        raise problem


def read_query(request: web.Request, model: type[Model]) -> Model:
    """Read the query as `model`; numbers are written as digits.

    Raises: Problem: 400 when a parameter comes twice or is none of the model's, 422 for what is no `model`.
    """
    check_declared(request, "query", model)
    query = request.query
    if len(query) != len(set(query)):
        raise Problem(400, "repeated_parameter", "A parameter stands in the query more than once.")
    known = {field.alias or name for name, field in model.model_fields.items()}
    if unknown := query.keys() - known:
        errors = [FieldError(_path((name,)), "there is no such parameter") for name in sorted(unknown)]
        raise Problem(
            400,
            "unknown_parameter",
            "The query holds what this route does not take.",
            errors=errors[:MAX_ERRORS],
        )
    return validated(model, dict(query))


def validated(model: type[Model], value: Any) -> Model:
    """Read a parsed value as `model`.

    Raises: Problem: 422 with the path of each field that is wrong; 400 when an id cannot be one.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
    if any(problem["type"] == "string_pattern_mismatch" for problem in problems):
        raise Problem(400, "invalid_id", "Ids have 1 to 64 characters out of A-Z, a-z, 0-9, _ and -.")
    raise invalid_fields(
        *(FieldError(_path(problem["loc"]), _message(problem)) for problem in problems[:MAX_ERRORS])
    )


def strict_json(body: bytes) -> Any:
    """Parse JSON.

    Raises: NotStrict: not UTF-8, a byte order mark, a name twice, NaN or Infinity, too deep, too many values, too
        long numbers.
    """
    if body.startswith(b"\xef\xbb\xbf"):
        raise NotStrict("it begins with a byte order mark")
    if body.count(b",") > MAX_COMMAS:
        raise NotStrict("it holds too many values")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise NotStrict("it is not UTF-8") from None
    if is_deeper_than(MAX_DEPTH, text):
        raise NotStrict("it is nested too deeply")
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_int,
            parse_float=_float,
            parse_constant=_constant,
        )
    except NotStrict:
        raise
    except ValueError:
        raise NotStrict("it cannot be parsed") from None


async def _read(request: web.Request, settings: ApiSettings) -> bytes:
    try:
        return await read_body(request, max_bytes=settings.max_body_bytes, timeout_s=settings.read_timeout_s)
    except BodyRefused as refused:
        problem = of_status(refused.status)
        problem.close = True
        raise problem from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotStrict("a name stands in an object more than once")
    return found


def _int(digits: str) -> int:
    if len(digits) > MAX_INT_DIGITS:
        raise NotStrict("a number is too long")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise NotStrict("a number is too large")
    return number


def _constant(_: str) -> NoReturn:
    raise NotStrict("NaN and Infinity are no numbers")


def _path(location: tuple[int | str, ...]) -> str:
    # A name the client made up is shown only when it can be a slip of the pen.
    parts = [str(part) for part in location]
    return ".".join(
        part if part.isascii() and part.isidentifier() and len(part) <= 64 else "?" for part in parts
    )


def _message(problem: Any) -> str:
    return "there is no such field" if problem["type"] == "extra_forbidden" else str(problem["msg"])
