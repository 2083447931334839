"""Lists in pages: a cursor is an opaque text of the server's that says where the next page begins."""

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Generic, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, Field

from hub.api.problems import Problem
from hub.api.routes import Faults
from hub.api.schemas import DIGITS, Asked, Given

CURSORS: Faults = {400: ("invalid_cursor",)}
"""Of lists that come in pages."""
MAX_PAGE = 200
MAX_CURSOR_CHARS = 400

Item = TypeVar("Item", bound=BaseModel)


class Page(Given, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next: str | None
    """`cursor` of the next page; null on the last one."""


class PageQuery(Asked):
    """Which page of a list."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE), DIGITS] = 50
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
    return paged(shown, place_of(shown[-1]) if len(found) > limit else "")


def page_of_all(entries: Iterable[Item], query: PageQuery, place_of: Callable[[Item], str]) -> web.Response:
    """Answer with a page of entries that are all at hand, in the order of their places.

    A database may sort texts by the rules of a language; then "behind" would be something else here than there.
    """
    after = query.after
    found = sorted((entry for entry in entries if place_of(entry) > after), key=place_of)
    return page(found[: query.limit + 1], query.limit, place_of)


def paged(shown: Sequence[BaseModel], place: str) -> web.Response:
    """Answer with a page whose end is known.

    Args:
        place: what the next page begins behind; empty on the last one.
    """
    cursor = cursor_of(place) if place else None
    return json_answer({"items": [item.model_dump(mode="json") for item in shown], "next": cursor})


def cursor_of(place: str) -> str:
    """Write a place in a list so that nobody takes it for anything."""
    return base64.urlsafe_b64encode(place.encode()).decode()


def json_answer(
    document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Answer with JSON."""
    return web.Response(
        status=status, body=orjson.dumps(document), content_type="application/json", headers=headers
    )


def not_found(what: str) -> Problem:
    """Say that there is no such thing."""
    return Problem(404, "not_found", f"There is no such {what}.")
