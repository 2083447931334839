"""Lists page by page."""

import json
from typing import Any

from pydantic import BaseModel

from hub.api.admin.paging import PageQuery, page_of_all


class Named(BaseModel):
    """An entry."""

    name: str


def test_every_entry_comes_once_in_whichever_order_a_database_sorts_names() -> None:
    """By the rules of a language "a-b" stands behind "aa", by its characters before it."""
    by_language = [Named(name=name) for name in ("aa", "a-b", "ab", "a_c", "ad", "b", "b-a", "ba")]
    seen: list[str] = []
    cursor: str | None = ""

    while cursor is not None:
        query = PageQuery(limit=3, cursor=cursor)
        answer: Any = page_of_all(by_language, query, lambda one: one.name)
        told = json.loads(answer.body)
        seen += [one["name"] for one in told["items"]]
        cursor = told["next"]

    assert seen == sorted(one.name for one in by_language)
