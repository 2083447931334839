"""Lists in pages: a cursor is an opaque text of the server's that says where the next page begins."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import orjson
import structlog
from aiohttp import web
from pydantic import BaseModel, Field

from hub.api.problems import Problem
from hub.api.schemas import Asked, QueryInt
from hub.keys import ApiKey

log = structlog.get_logger("hub.api.admin")

MAX_PAGE = 200
MAX_CURSOR_CHARS = 400

Item = TypeVar("Item", bound=BaseModel)


class PageQuery(Asked):
    """Which page of a list."""

    limit: Annotated[QueryInt, Field(ge=1, le=MAX_PAGE)] = 50
    cursor: Annotated[str, Field(max_length=MAX_CURSOR_CHARS)] = ""
    """`next` of the page before; empty: the first page."""

    @property
    def after(self) -> str:
        """What the last entry of the page before was, as `page` was told; empty for the first page.

        Raises: Problem: 400 where the cursor is none of this server's.
        """
        try:
            return base64.b64decode(self.cursor.encode("ascii"), altchars=b"-_", validate=True).decode()
        except (binascii.Error, ValueError):
            raise bad_cursor() from None

    @property
    def after_id(self) -> int:
        """The same where entries are told by a number."""
        if not (given := self.after):
            return 0
        if not (given.isascii() and given.isdigit() and len(given) <= 18):
            raise bad_cursor()
        return int(given)


def bad_cursor() -> Problem:
    """Say that a cursor was made up."""
    return Problem(400, "invalid_cursor", "This cursor was not given by this list.")


def page(found: Sequence[Item], limit: int, place_of: Callable[[Item], str]) -> web.Response:
    """Answer with a page.

    Args:
        found: its entries, and one more where there are any behind it.
        place_of: gives what the next page begins behind.
    """
    shown = found[:limit]
    is_more = len(found) > limit
    cursor = base64.urlsafe_b64encode(place_of(shown[-1]).encode()).decode() if is_more else None
    return json_answer({"items": [item.model_dump(mode="json") for item in shown], "next": cursor})


def json_answer(
    document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Answer with JSON."""
    return web.Response(
        status=status, body=orjson.dumps(document), content_type="application/json", headers=headers
    )


def note_change(key: ApiKey, action: str, target: str, **numbers: int) -> None:
    """Write the log line of a change; never with anything that a person said or is called."""
    log.info("admin_changed", key=key.id, action=action, target=target, **numbers)


def not_found(what: str) -> Problem:
    """Say that there is no such thing."""
    return Problem(404, "not_found", f"There is no such {what}.")
