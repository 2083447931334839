"""What lists are cut down to: each filter by itself and together, page by page, and strictly read."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from sqlalchemy import insert

from hub.database import async_engine, sync_engine
from hub.guard_settings import GapSettings
from hub.messages import utc_now
from hub.operators.roles import Role
from hub.operators.store import Change
from knowledge.embedder import Embedder
from knowledge.gaps.store import GapStore, Unanswered
from knowledge.library import DocumentFilter, Library
from knowledge.store import DocumentStore
from knowledge.tables import DocumentRow
from tests.hub.api.admin.operating import Operator
from tests.hub.api.admin.signing_in import operators_of
from tests.hub.operators.desk import PASSWORD


async def listed(operator: Operator, path: str, name: str, query: Mapping[str, str]) -> list[str]:
    """Read a list to its end in pages of two, and return one field of each entry."""
    pages = await operator.pages(path, limit="2", **query)
    assert all(len(page) == 2 for page in pages[:-1])
    return [entry[name] for page in pages for entry in page]


WRONG: list[tuple[str, dict[str, str]]] = [
    ("/keys", {"state": "VALID"}),
    ("/keys", {"state": ""}),
    ("/keys", {"scope": "root"}),
    ("/keys", {"tier": "x" * 65}),
    ("/keys", {"label": "x" * 201}),
    ("/operators", {"role": "Admin"}),
    ("/operators", {"state": "asleep"}),
    ("/erasures", {"state": "begun"}),
    ("/collections/documents/documents", {"name": "x" * 1001}),
    ("/collections/documents/documents", {"is_upload": "1"}),
    ("/gaps", {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}),
    ("/gaps", {"since": "2026-01-01"}),
    ("/gaps", {"connector": "x" * 65}),
    ("/gaps", {"text": "x" * 201}),
    ("/gaps", {"is_looked_up": "yes"}),
    ("/people", {"connector": "x" * 65}),
    ("/people", {"person": "x" * 501}),
]


async def test_filters_are_read_strictly(bare_operator: Operator) -> None:
    """What cannot be is refused with the field's name, and not passed over."""
    for path, query in WRONG:
        status, answer = await bare_operator.call("GET", path, query=query)

        assert (status, answer["code"]) == (422, "invalid_fields"), (path, query)
        assert answer["errors"][0]["field"] in {*query, ""}


async def test_keys_are_chosen_by_tier_label_scope_and_state(bare_operator: Operator) -> None:
    """Parts of a label mean what they say, whatever a database takes `%` and `_` for."""
    keys = bare_operator.api.parts.keys
    await keys.create("free", label="Billing 100%")
    await keys.create("free", label="billing_2", scopes=("models",))
    await keys.create("pro", label="billing x2", expires_at=utc_now() - timedelta(days=1))
    gone = await keys.create("pro", label="old", scopes=("models", "admin"))
    await keys.revoke(gone.key.id)
    expected: list[tuple[dict[str, str], list[str]]] = [
        ({}, ["old", "billing x2", "billing_2", "Billing 100%", ""]),
        ({"tier": "free"}, ["billing_2", "Billing 100%"]),
        ({"tier": "FREE"}, []),
        ({"label": "BILL"}, ["billing x2", "billing_2", "Billing 100%"]),
        ({"label": "%"}, ["Billing 100%"]),
        ({"label": "g_"}, ["billing_2"]),
        ({"label": "\0"}, []),
        ({"scope": "models"}, ["old", "billing_2"]),
        ({"scope": "admin"}, ["old", ""]),
        ({"state": "valid"}, ["billing_2", "Billing 100%", ""]),
        ({"state": "expired"}, ["billing x2"]),
        ({"state": "revoked"}, ["old"]),
        ({"state": "valid", "tier": "free", "label": "bill", "scope": "models"}, ["billing_2"]),
        ({"state": "valid", "tier": "pro"}, []),
    ]

    for query, labels in expected:
        assert await listed(bare_operator, "/keys", "label", query) == labels, query


async def test_operators_are_chosen_by_role_and_state(bare_operator: Operator) -> None:
    """Who may what, and who is shut out."""
    store = operators_of(bare_operator.api).store
    roles: dict[str, Role] = {"ana": "admin", "ben": "viewer", "cem": "viewer", "dia": "operator"}
    made = {name: await store.add(name, role, PASSWORD) for name, role in roles.items()}
    await store.change(made["cem"].id, Change(disabled=True))
    expected: list[tuple[dict[str, str], list[str]]] = [
        ({}, ["ana", "ben", "cem", "dia"]),
        ({"role": "viewer"}, ["ben", "cem"]),
        ({"state": "active"}, ["ana", "ben", "dia"]),
        ({"state": "disabled"}, ["cem"]),
        ({"role": "viewer", "state": "active"}, ["ben"]),
        ({"role": "admin", "state": "disabled"}, []),
    ]

    for query, names in expected:
        assert await listed(bare_operator, "/operators", "name", query) == names, query


async def test_questions_are_chosen_by_channel_words_and_time(
    bare_operator: Operator, embedder: Embedder, data: Path
) -> None:
    """Of what is one question in several words, each word finds it."""
    engine = async_engine(f"sqlite:///{data / 'hubbub.db'}")
    store = GapStore(engine, GapSettings(similarity=0.6))
    asked = [
        ("web", "May dogs come on the ferry?"),
        ("email", "Are dogs allowed on the ferry?"),
        ("web", "Who painted the chapel?"),
    ]
    for number, (connector, text) in enumerate(asked):
        vector = (await embedder.embed([text]))[0]
        question = Unanswered(turn=str(number), conversation=f"c{number}", connector=connector, text=text)
        await store.note(question, vector, embedder.model)
    gaps = await store.gaps()
    dogs, chapel = (gap.question for gap in gaps)
    await store.propose(gaps[1].id, [{"title": "The chapel", "text": "Painted.", "url": ""}])
    await engine.dispose()
    middle = gaps[1].last_asked.isoformat()
    expected: list[tuple[dict[str, str], list[str]]] = [
        ({}, [dogs, chapel]),
        ({"connector": "email"}, [dogs]),
        ({"connector": "telegram"}, []),
        ({"text": "MAY DOGS"}, [dogs]),
        ({"text": "allowed"}, [dogs]),
        ({"text": "chapel"}, [chapel]),
        ({"is_looked_up": "true"}, [chapel]),
        ({"is_looked_up": "false"}, [dogs]),
        ({"since": middle}, [chapel]),
        ({"until": middle}, [dogs]),
        ({"connector": "web", "text": "the", "is_looked_up": "false"}, [dogs]),
    ]

    for query, questions in expected:
        assert await listed(bare_operator, "/gaps", "question", query) == questions, query


DOCUMENTS = [
    ("upload:api", "Ferry.md"),
    ("upload:api", "ferry_2.md"),
    ("/srv/docs", "ferry.md"),
    ("/srv/docs", "fähre.md"),
]


def _documents() -> list[dict[str, object]]:
    shared = {
        "collection": "documents",
        "media_type": "text/markdown",
        "title": "",
        "version": "",
        "size_bytes": 1,
    }
    return [{**shared, "root": root, "location": name, "added_at": utc_now()} for root, name in DOCUMENTS]


async def test_documents_are_chosen_by_name_and_origin(bare_operator: Operator, data: Path) -> None:
    """By what their names begin with, letter by letter."""
    engine = sync_engine(f"sqlite:///{data / 'hubbub.db'}")
    DocumentStore(engine).open_collection("documents", "public")
    with engine.begin() as connection:
        connection.execute(insert(DocumentRow), _documents())
    engine.dispose()
    expected: list[tuple[dict[str, str], list[str]]] = [
        ({}, ["Ferry.md", "ferry_2.md", "ferry.md", "fähre.md"]),
        ({"name": "f"}, ["ferry_2.md", "ferry.md", "fähre.md"]),
        ({"name": "fä"}, ["fähre.md"]),
        ({"name": "ferry_"}, ["ferry_2.md"]),
        ({"name": "%"}, []),
        ({"is_upload": "true"}, ["Ferry.md", "ferry_2.md"]),
        ({"is_upload": "false"}, ["ferry.md", "fähre.md"]),
        ({"is_upload": "false", "name": "fe"}, ["ferry.md"]),
    ]

    for query, names in expected:
        found = await listed(bare_operator, "/collections/documents/documents", "location", query)
        assert found == names, query


def test_every_database_takes_the_letters_of_a_name_as_they_are(every_database: str) -> None:
    """Upper and lower case, letters of several bytes, and what a pattern would mean."""
    engine = sync_engine(every_database)
    library = Library(engine)
    DocumentStore(engine).open_collection("documents", "public")
    with engine.begin() as connection:
        connection.execute(insert(DocumentRow), _documents())

    def names(which: DocumentFilter) -> list[str]:
        return [one.location for one in library.documents("documents", which=which)]

    assert names(DocumentFilter(location="f")) == ["ferry_2.md", "ferry.md", "fähre.md"]
    assert names(DocumentFilter(location="fäh")) == ["fähre.md"]
    assert names(DocumentFilter(location="ferry_")) == ["ferry_2.md"]
    assert names(DocumentFilter(location="\0")) == []
    assert names(DocumentFilter(root="upload:api", is_of_root=False)) == ["ferry.md", "fähre.md"]
    engine.dispose()
