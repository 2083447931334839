"""Errors as clients see them: RFC 9457 documents with a fixed text, a stable code and the request's id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict

PROBLEM = "application/problem+json"
SERVER = "Hubbub"
"""What answers tell of the software: no version, no library."""
RETRY_S = 5
"""When to come again, where nobody has told."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field of a body or query."""

    field: str
    """Path, such as `prompt`; empty for the body as a whole."""
    message: str


class ProblemDocument(BaseModel):
    """Why a request did not go well. Source: RFC 9457."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str
    """`about:blank`: there is nothing to read about it."""
    title: str
    """Of the status."""
    status: int
    code: str
    """Stable; programs compare it."""
    detail: str
    """For people."""
    request_id: str
    """As in the header X-Request-ID, and in the log."""
    errors: tuple[FieldError, ...] = ()
    """The fields that are wrong."""


class Problem(Exception):
    """A request ends with this answer.

    Args:
        status: HTTP status.
        code: stable word that programs compare.
        detail: fixed text for people; never anything the client sent.
        errors: the fields that are wrong, for 422.
        close: end the connection, because its body was not read.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldError] = (),
        close: bool = False,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = tuple(errors)
        self.close = close

    def document(self, request_id: str) -> bytes:
        """Return the answer's body."""
        document: dict[str, object] = {
            "type": "about:blank",
            "title": _TITLES.get(self.status, "Error"),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.errors:
            document["errors"] = [{"field": error.field, "message": error.message} for error in self.errors]
        return orjson.dumps(document)

    def response(self, request_id: str) -> web.Response:
        """Return the answer."""
        response = web.Response(
            status=self.status,
            body=self.document(request_id),
            content_type=PROBLEM,
            headers=self.headers,
        )
        if self.close:
            response.force_close()
        return response


def invalid_fields(*errors: FieldError) -> Problem:
    """Say which fields of a body or query are wrong."""
    return Problem(422, "invalid_fields", "Fields of the request are wrong.", errors=errors)


def unavailable(detail: str, *, code: str = "unavailable", retry_after_s: int = RETRY_S) -> Problem:
    """Say that something the answer needs is away for now."""
    return Problem(503, code, detail, headers={"Retry-After": str(retry_after_s)})


def too_many(code: str, detail: str, retry_after_s: int) -> Problem:
    """Say that a limit is reached."""
    return Problem(429, code, detail, headers={"Retry-After": str(retry_after_s)})


def of_status(status: int, headers: Mapping[str, str] | None = None) -> Problem:
    """Give the problem for a status that says all there is to say."""
    known = {
        400: ("bad_request", "The request cannot be understood."),
        404: ("not_found", "There is nothing here."),
        405: ("method_not_allowed", "This method is not possible here."),
        408: ("too_slow", "The request took too long to arrive."),
        413: ("too_large", "The request is larger than this server takes."),
        415: ("media_type", "The body must be application/json in UTF-8, without Content-Encoding."),
        426: ("upgrade_required", "This address speaks another protocol."),
        431: ("headers_too_large", "The request's headers are larger than this server takes."),
    }
    code, detail = known.get(status, ("error", "The request cannot be answered."))
    return Problem(status, code, detail, headers=headers, close=status in (408, 413))


_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    426: "Upgrade Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
