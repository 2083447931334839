"""Nothing is changed that is not what its author has seen any more."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hub.database import sync_engine
from hub.errors import ChangedMeanwhile
from hub.facts import Fact
from hub.messages import utc_now
from knowledge.library import Library
from knowledge.store import DocumentStore
from tests.hub.api.admin.operating import FERRY, PREFIX, Operator, document_rows, make

DOCUMENTS = "/collections/timetable/documents"


async def put(operator: Operator, path: str, version: Sequence[str], **sent: Any) -> tuple[int, Any]:
    """Change something for versions that were seen."""
    headers = [*operator.headers.items(), *(("If-Match", one) for one in version)]
    async with operator.api.session.put(
        f"{operator.api.url}{PREFIX}{path}", headers=headers, **sent
    ) as response:
        return response.status, await response.json()


async def test_an_audience_is_changed_for_the_version_that_was_seen(operator: Operator) -> None:
    """The list tells it; a change makes another one of it, and the first change comes only once."""
    await make(operator, "timetable")
    [collection] = [
        one for [page] in [await operator.pages("/collections")] for one in page if one["name"] == "timetable"
    ]
    seen = f'"{collection["version"]}"'

    first = await put(operator, "/collections/timetable", [seen], json={"audience": "operator"})
    second = await put(operator, "/collections/timetable", [seen], json={"audience": "public"})
    unknown = await put(operator, "/collections/other", [seen], json={"audience": "public"})
    third = await put(
        operator, "/collections/timetable", [f'"{first[1]["version"]}"'], json={"audience": "site:a"}
    )

    assert (first[0], first[1]["audience"]) == (200, "operator")
    assert (second[0], second[1]["code"]) == (unknown[0], unknown[1]["code"]) == (412, "stale")
    assert (third[0], third[1]["audience"]) == (200, "site:a")


async def test_a_document_is_replaced_for_the_version_that_was_seen(operator: Operator, data: Path) -> None:
    """Its version is the SHA-256 of its bytes."""
    await make(operator, "timetable")
    _, added = await operator.upload("timetable", "ferry.md", FERRY)
    path, seen = f"{DOCUMENTS}?name=ferry.md", f'"{added["document"]["version"]}"'

    status, replaced = await put(operator, path, [seen], data=FERRY + b"Not on Sundays.\n")
    stale = await put(operator, path, [seen], data=FERRY)
    missing = await put(operator, f"{DOCUMENTS}?name=bus.md", [seen], data=FERRY)

    assert (status, replaced["outcome"]) == (200, "replaced")
    assert [(answer[0], answer[1]["code"]) for answer in (stale, missing)] == [(412, "stale")] * 2
    [(name, text)] = document_rows(data)
    assert name == "ferry.md"
    assert "Not on Sundays" in text


@pytest.mark.parametrize(
    "given", [["a b"], ["*"], ['""'], ['W/"7"'], ['"a", "b"'], ['"a"', '"b"'], ['"' + "a" * 101 + '"']]
)
async def test_what_is_no_version_is_refused(operator: Operator, given: list[str]) -> None:
    """One strong tag, and nothing happens otherwise."""
    await make(operator, "timetable")

    status, problem = await put(operator, "/collections/timetable", given, json={"audience": "operator"})

    assert (status, problem["code"]) == (400, "invalid_if_match")
    [page] = await operator.pages("/collections")
    assert "operator" not in {one["audience"] for one in page if one["name"] == "timetable"}


def test_the_database_itself_looks_whether_it_is_still_so(every_database: str) -> None:
    """Of two who have seen the same, one is too late, however close they come."""
    engine = sync_engine(every_database)
    library, store = Library(engine), DocumentStore(engine)
    store.open_collection("timetable", "public")

    library.set_audience("timetable", "operator", "public")
    with pytest.raises(ChangedMeanwhile):
        library.set_audience("timetable", "site:a", "public")

    assert [one.audience for one in library.collections() if one.name == "timetable"] == ["operator"]
    engine.dispose()


def test_a_fact_has_a_version_that_changes_with_it() -> None:
    """Also where the words stay the same."""
    fact = Fact(text="The user lives in Goa.", told_at=utc_now())

    assert fact.version == Fact(**fact.model_dump()).version
    assert fact.version != fact.model_copy(update={"quote": "I live in Goa"}).version
