"""Collections and documents over HTTP: filed for an audience, sent, replaced, removed; and what is refused."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from structlog.testing import capture_logs
from yarl import URL

from hub.database import sync_engine
from hub.settings import Settings
from knowledge.audience import Reader
from knowledge.chunks import embedded_text
from knowledge.contextual import embed_chunks
from knowledge.embedder import Embedder
from knowledge.passages import Vectors
from knowledge.search import KnowledgeBase
from knowledge.tables import ChunkRow
from tests.hub.api.admin.operating import (
    FERRY,
    Operator,
    SharedEmbeddings,
    document_rows,
    make,
    start_embedding,
)

LATER = b"# Ferry\n\nThe ferry to Divar leaves every hour, from seven in the morning on.\n"


async def test_a_document_that_was_sent_is_found_by_its_readers(
    operator: Operator, embedder: Embedder, data: Path
) -> None:
    """Parsed in a process of its own, embedded by the engine's service, and found by the search of an engine."""
    await make(operator, "timetable", "site:shop")

    status, answer = await operator.upload("timetable", "ferry.md", FERRY)

    document = answer["document"]
    assert (status, answer["outcome"]) == (201, "added")
    assert (document["title"], document["location"]) == ("Ferry", "ferry.md")
    assert (document["version"], document["size_bytes"]) == (hashlib.sha256(FERRY).hexdigest(), len(FERRY))
    assert (document["chunks"], document["is_upload"]) == (1, True)
    base = await KnowledgeBase.open(Settings(data=data, knowledge={"bundled_docs": False}))
    try:
        await base.ready()
        query = "When does the ferry to Divar leave?"
        assert [one.location for one in await base.search(query, 4, Reader(site="shop"))] == ["ferry.md"]
        assert await base.search(query, 4) == []
    finally:
        await base.close()


async def test_the_vectors_are_those_of_the_model(operator: Operator, embedder: Embedder, data: Path) -> None:
    """What `hubbub ingest` would have written, under the model's full name."""
    await make(operator, "timetable")
    await operator.upload("timetable", "ferry.md", FERRY)

    engine = sync_engine(f"sqlite:///{data / 'hubbub.db'}")
    with engine.connect() as connection:
        row = connection.execute(select(ChunkRow.__table__)).mappings().one()
    engine.dispose()

    text = embedded_text("Ferry", row["heading"], row["text"])
    expected = await asyncio.to_thread(embed_chunks, embedder, [text])
    assert row["embedding_model"] == embedder.model
    assert row["text_hash"] == text.digest
    assert np.allclose(np.frombuffer(row["embedding"], "<f4"), expected[0], atol=1e-6)


async def test_the_same_bytes_change_nothing_and_others_replace_them(
    operator: Operator, embeddings: SharedEmbeddings, data: Path
) -> None:
    """A repeated request costs no embedding; a document has one version at a time."""
    await make(operator, "timetable")
    _, first = await operator.upload("timetable", "ferry.md", FERRY)
    embedded = len(embeddings.texts)

    again = await operator.upload("timetable", "ferry.md", FERRY)
    other_name = await operator.upload("timetable", "copy.md", FERRY)
    replaced = await operator.upload("timetable", "ferry.md", LATER)

    assert again == (200, {"outcome": "unchanged", "document": first["document"]})
    assert (other_name[0], other_name[1]["outcome"]) == (201, "added")
    assert (replaced[0], replaced[1]["outcome"]) == (200, "replaced")
    assert replaced[1]["document"]["id"] != first["document"]["id"]
    # The copy's text was embedded already.
    assert len(embeddings.texts) == embedded + 1
    assert [name for name, _ in document_rows(data)] == ["copy.md", "ferry.md"]
    assert "every hour" in document_rows(data)[1][1]


async def test_many_at_once_under_one_name_leave_one(operator: Operator, data: Path) -> None:
    """Whole, and with its own passages alone."""
    await make(operator, "timetable")

    sent = [FERRY + f"\nBoat number {number}.\n".encode() for number in range(6)]
    answers = await asyncio.gather(*(operator.upload("timetable", "ferry.md", data) for data in sent))

    assert {status for status, _ in answers} <= {200, 201}
    assert len(document_rows(data)) == 1


async def test_without_an_engine_nothing_is_stored(
    bare_operator: Operator, embeddings: SharedEmbeddings, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender is told to come again, and then it works; the lists work all the while."""
    monkeypatch.setattr("hub.app.documents.PROBE_TIMEOUT_S", 0.3)
    operator = bare_operator
    await make(operator, "timetable")
    url = f"{operator.api.url}/api/v1/admin/collections/timetable/documents"

    async with operator.api.session.put(
        url, params={"name": "ferry.md"}, data=FERRY, headers=operator.headers
    ) as response:
        answer = await response.json()

    assert (response.status, answer["code"]) == (503, "no_engine")
    assert int(response.headers["Retry-After"]) > 0
    assert document_rows(data) == []
    assert (await operator.call("GET", "/collections/timetable/documents"))[1]["items"] == []
    start_embedding(operator.api, embeddings)
    assert (await operator.upload("timetable", "ferry.md", FERRY))[0] == 201


async def test_an_engine_that_ends_in_the_middle_leaves_nothing(
    bare_operator: Operator, embedder: Embedder, data: Path
) -> None:
    """Its first batch was answered, the second never is."""

    class Fails(SharedEmbeddings):
        async def embed(self, texts: Any) -> Vectors:
            if self.texts:
                raise RuntimeError("out of memory")
            return await super().embed(texts)

    start_embedding(bare_operator.api, Fails(embedder))
    await make(bare_operator, "long")
    text = "\n\n".join(f"## Part {number}\n\nPassage {number} tells of boats." for number in range(80))

    status, answer = await bare_operator.upload("long", "long.md", text.encode())

    assert (status, answer["code"]) == (503, "no_engine")
    assert document_rows(data) == []


async def test_a_collection_that_is_removed_meanwhile_stays_removed(
    bare_operator: Operator, embedder: Embedder, data: Path
) -> None:
    """The document is not stored, and no passage is left without a document."""
    at_work, go_on = asyncio.Event(), asyncio.Event()

    class Slow(SharedEmbeddings):
        async def embed(self, texts: Any) -> Vectors:
            at_work.set()
            await go_on.wait()
            return await super().embed(texts)

    start_embedding(bare_operator.api, Slow(embedder))
    await make(bare_operator, "timetable")

    sending = asyncio.create_task(bare_operator.upload("timetable", "ferry.md", FERRY))
    await at_work.wait()
    removed = await bare_operator.call("DELETE", "/collections/timetable")
    go_on.set()
    status, answer = await sending

    assert removed == (200, {"documents": 0})
    assert (status, answer["code"]) == (404, "not_found")
    assert document_rows(data) == []


async def test_an_engine_with_another_model_is_not_believed(
    bare_operator: Operator, embedder: Embedder, data: Path
) -> None:
    """Vectors of two models are never compared, so they are not stored under one name."""
    other = SharedEmbeddings(embedder)
    other.embedding_model = "another-model"
    start_embedding(bare_operator.api, other)
    await make(bare_operator, "timetable")

    status, answer = await bare_operator.upload("timetable", "ferry.md", FERRY)

    assert (status, answer["code"]) == (503, "other_model")
    assert document_rows(data) == []


async def test_collections_are_made_changed_listed_and_removed(operator: Operator, data: Path) -> None:
    """As the commands do it; the collections that are always there stay."""
    await make(operator, "staff", "operator")
    await operator.upload("staff", "ferry.md", FERRY)
    await operator.upload("documents", "ferry.md", FERRY)

    changed = await operator.call("PUT", "/collections/staff", {"audience": "person:telegram/12/7"})
    pages = await operator.pages("/collections", limit="1")
    removed = await operator.call("DELETE", "/collections/staff")
    emptied = await operator.call("DELETE", "/collections/documents")
    gone = await operator.call("DELETE", "/collections/staff")

    assert changed[0] == 200
    assert changed[1]["audience"].startswith("person:telegram-")
    assert [[one["name"] for one in page] for page in pages] == [["bundled"], ["documents"], ["staff"]]
    staff = pages[2][0]
    assert (staff["documents"], staff["chunks"], staff["size_bytes"]) == (1, 1, len(FERRY))
    assert removed == (200, {"documents": 1})
    assert emptied == (200, {"documents": 1})
    assert gone[0] == 404
    assert [one["name"] for one in (await operator.pages("/collections"))[0]] == ["bundled", "documents"]
    assert document_rows(data) == []


async def test_documents_are_listed_in_pages_and_removed_one_by_one(operator: Operator, data: Path) -> None:
    """A page ends where the next begins, also when something is removed in between."""
    await make(operator, "timetable")
    await make(operator, "other")
    numbers = []
    for number in range(5):
        _, answer = await operator.upload("timetable", f"{number}.md", FERRY)
        numbers.append(answer["document"]["id"])

    _, first = await operator.call("GET", "/collections/timetable/documents", query={"limit": "2"})
    elsewhere = await operator.call("DELETE", f"/collections/other/documents/{numbers[1]}")
    removed = await operator.call("DELETE", f"/collections/timetable/documents/{numbers[1]}")
    again = await operator.call("DELETE", f"/collections/timetable/documents/{numbers[1]}")
    _, second = await operator.call(
        "GET", "/collections/timetable/documents", query={"limit": "200", "cursor": first["next"]}
    )

    assert [one["location"] for one in first["items"]] == ["0.md", "1.md"]
    assert (elsewhere[0], removed, again[0]) == (404, (204, None), 404)
    assert [one["location"] for one in second["items"]] == ["2.md", "3.md", "4.md"]
    assert second["next"] is None
    assert [name for name, _ in document_rows(data)] == ["0.md", "2.md", "3.md", "4.md"]


async def test_the_hubs_own_documents_are_left_alone(operator: Operator) -> None:
    """They would come back at the next start."""
    answers = [
        await operator.call("DELETE", "/collections/bundled"),
        await operator.call("DELETE", "/collections/bundled/documents/1"),
        await operator.upload("bundled", "ferry.md", FERRY),
    ]

    assert {(status, answer["code"]) for status, answer in answers} == {(409, "bundled_collection")}


@pytest.mark.parametrize(
    "name", ["1%20OR%201=1", "%2e%2e", "x" * 300, "%F0%9F%99%82", "a%00b", "a:b", "{0}", "*"]
)
async def test_a_collection_that_cannot_be_is_not_there(operator: Operator, name: str) -> None:
    """404 for whoever looks, 400 for whoever wants to make it."""
    url = f"{operator.api.url}/api/v1/admin/collections/{name}"
    async with operator.api.session.get(
        URL(f"{url}/documents", encoded=True), headers=operator.headers
    ) as response:
        looked = response.status
    async with operator.api.session.put(
        URL(url, encoded=True), json={"audience": "public"}, headers=operator.headers
    ) as response:
        made = response.status

    assert looked in (400, 404)
    assert made in (400, 404)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"audience": ""},
        {"audience": "Public"},
        {"audience": "everybody"},
        {"audience": "person:"},
        {"audience": "site:a b"},
        {"audience": 1},
        {"audience": None},
        {"audience": "public", "name": "x"},
        {"audience": "public", "id": 1},
    ],
)
async def test_wrong_audiences_are_refused(operator: Operator, body: object) -> None:
    """With the field's name, and no collection is made."""
    status, answer = await operator.call("PUT", "/collections/staff", body)

    assert status == 422
    assert answer["errors"]
    assert (await operator.call("GET", "/collections/staff/documents"))[0] == 404


async def test_changes_are_logged_without_what_anybody_said(operator: Operator) -> None:
    """One line each: who, what, on what."""
    with capture_logs() as logs:
        await make(operator, "timetable")
        _, answer = await operator.upload("timetable", "secret-name.md", FERRY)
        await operator.upload("timetable", "secret-name.md", FERRY)
        number = answer["document"]["id"]
        await operator.call("DELETE", f"/collections/timetable/documents/{number}")
        await operator.call("DELETE", "/collections/timetable")

    changes = [line for line in logs if line["event"] == "admin_changed"]
    key = operator.headers["X-API-Key"].split("_")[2]
    assert {line["key"] for line in changes} == {key}
    assert [(line["action"], line["target"]) for line in changes] == [
        ("collection_made", "timetable"),
        ("document_added", f"timetable/{number}"),
        ("document_removed", f"timetable/{number}"),
        ("collection_removed", "timetable"),
    ]
    assert "secret-name" not in str(logs)
