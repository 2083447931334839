"""What is said about a change, from repositories that were really ingested."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hub.database import async_engine, database_url
from hub.errors import KnowledgeError
from hub.settings import Settings
from knowledge.review import RepositoryReview, repository_of
from knowledge.search import KnowledgeBase
from knowledge.symbols import defined_in, names_in

CACHE = """class TokenCache:
    def invalidate_all(self, reason: str) -> None:
        self._entries.clear()

    def lookup_token(self, key: str) -> str | None:
        return self._entries.get(key)
"""
ROUTES = """from cache import TokenCache

def sign_out(request, cache: TokenCache):
    cache.invalidate_all("sign out")
    return redirect("/")
"""
BILLING = """def total_of(invoice):
    return sum(line.amount for line in invoice.lines)
"""
GUIDE = """# Operations

## Invalidating the token cache

After a change of keys every token in the cache must be invalidated, or old ones stay valid for an hour.

## Invoices

Invoices are written once a month.
"""


@pytest.fixture
async def review(base: KnowledgeBase, settings: Settings, tmp_path: Path) -> AsyncIterator[RepositoryReview]:
    """Two repositories and a collection, ingested."""
    api, shop = tmp_path / "api", tmp_path / "shop"
    (api / "src").mkdir(parents=True)
    (api / "docs").mkdir()
    (api / "src" / "cache.py").write_text(CACHE)
    (api / "src" / "routes.py").write_text(ROUTES)
    (api / "src" / "billing.py").write_text(BILLING)
    (api / "docs" / "operations.md").write_text(GUIDE)
    shop.mkdir()
    (shop / "basket.py").write_text("from api import TokenCache\n\nbasket = TokenCache()\n")
    await base.ingest([api])
    # Named files are read whatever they are, and keep their places below a folder that was added.
    await base.ingest(sorted(api.rglob("*.py")))
    await base.ingest([shop / "basket.py"], collection="shop", audience="public")
    engine = async_engine(database_url(settings))
    yield RepositoryReview(base, engine)
    await engine.dispose()


async def _ask(review: RepositoryReview, **asked: Any) -> Any:
    request = {"query": "", "files": [], "repositories": [], "max_results": 8, **asked}
    return await review.answer(request)


async def test_a_changed_file_leads_to_its_symbols_and_to_who_uses_them(review: RepositoryReview) -> None:
    """Callers first, the document about it, and never the file itself."""
    found = await _ask(review, files=["src/cache.py"])

    assert found["focus_areas"][0] == "src/cache.py: TokenCache, invalidate_all, lookup_token"
    assert found["areas"]["files"][0] == "src/cache.py"
    assert {"TokenCache", "invalidate_all"} <= set(found["areas"]["symbols"])
    paths = [each["file_path"] for each in found["references"]]
    assert paths[0] == "src/routes.py"
    assert "src/cache.py" not in paths
    assert found["references"][0]["symbols"] == ["TokenCache", "invalidate_all"]
    assert 'cache.invalidate_all("sign out")' in found["references"][0]["summary"]
    assert "src/routes.py uses TokenCache, invalidate_all" in found["focus_areas"]
    assert any(path == "docs/operations.md" for path in paths)


async def test_a_question_leads_to_what_is_near_to_it(review: RepositoryReview) -> None:
    """Code and documents, best first, with scores between 0 and 1."""
    found = await _ask(review, query="token cache must be invalidated when keys change", max_results=2)

    assert found["references"][0]["file_path"] == "docs/operations.md"
    assert found["references"][0]["kind"] == "doc"
    assert "Invalidating the token cache" in found["references"][0]["heading"]
    assert len(found["references"]) == 2
    scores = [each["score"] for each in found["references"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


@pytest.mark.parametrize(
    ("repositories", "expected"),
    [
        ([], {"api", "shop"}),
        (["all"], {"api", "shop"}),
        (["api"], {"api"}),
        (["acme/api"], {"api"}),
        (["Shop"], {"shop"}),
        (["unknown"], set()),
    ],
)
async def test_only_the_repositories_that_are_named_are_looked_at(
    review: RepositoryReview, repositories: list[str], expected: set[str]
) -> None:
    """None, or `all`, means every one."""
    found = await _ask(review, query="token cache", repositories=repositories)

    assert {each["repository"] for each in found["references"]} == expected


@pytest.mark.parametrize(
    "path", ["src/cache.py", "api/src/cache.py", "cache.py", "src\\cache.py", "./src/cache.py"]
)
async def test_a_path_is_found_whatever_it_begins_with(review: RepositoryReview, path: str) -> None:
    """Repositories are ingested from one folder and diffs are written from another."""
    found = await _ask(review, files=[path], repositories=["api"])

    assert found["areas"]["files"][0] == "src/cache.py"


@pytest.mark.parametrize("path", ["nowhere.py", "%", "_", "../../etc/passwd", "\x00", "/", "a" * 400])
async def test_an_unknown_path_is_no_error(review: RepositoryReview, path: str) -> None:
    """There is nothing to say about it."""
    assert await _ask(review, files=[path]) == {
        "focus_areas": [],
        "areas": {"files": [], "symbols": [], "docs": []},
        "references": [],
    }


async def test_what_is_no_request_is_refused(review: RepositoryReview) -> None:
    """Another program may have written it."""
    with pytest.raises(KnowledgeError, match="no request"):
        await review.answer({"query": "x"})


def test_the_project_s_own_documents_are_nobody_s_repository() -> None:
    """Others are named by their collection, or by their folder."""
    assert repository_of("bundled", "/somewhere/hubbub") == ""
    assert repository_of("documents", "/srv/code/api") == "api"
    assert repository_of("documents", "git:https://git.example.org/acme/api.git") == "api"
    assert repository_of("documents", "C:\\code\\api") == "api"
    assert repository_of("shop", "/srv/x") == "shop"


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("async def fetch_all(x): ...\nclass Reader(Base):", ["fetch_all", "Reader"]),
        (
            "export default class Page {}\nexport const useCart = () => {}\nfunction addItem(a) {",
            ["Page", "useCart", "addItem"],
        ),
        ("func (s *Server) Handle(w int) error {\ntype Options struct {", ["Handle", "Options"]),
        ("pub async fn read_frame() {}\npub(crate) struct Frame;\nimpl Frame {", ["read_frame", "Frame"]),
        ("#define MAX_ITEMS 4\nstatic int sum_of(int a, int b) {", ["MAX_ITEMS", "sum_of"]),
        ("public interface Store {}\n  private static final String nameOf(int a) {", ["Store"]),
        ("CREATE TABLE IF NOT EXISTS invoices (id int);", ["invoices"]),
        ("fun String.shout() = 1\nobject Registry", ["String", "Registry"]),
        ("x = 1\nif (a) {\nreturn foo(b) {", []),
    ],
)
def test_definitions_are_found_in_common_languages(code: str, names: list[str]) -> None:
    """What stands there as a definition; calls and conditions are none."""
    assert defined_in(code) == names


def test_names_are_whole_words() -> None:
    """A name within another one is another one."""
    assert names_in("TokenCaches, my_TokenCache, $TokenCache", ["TokenCache"]) == []
    assert names_in("(TokenCache)", ["TokenCache", "other"]) == ["TokenCache"]


async def test_other_repositories_leave_room(
    review: RepositoryReview, base: KnowledgeBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much of them there is, and however much nearer: what is asked about is found."""
    late = tmp_path / "late" / "src"
    late.mkdir(parents=True)
    (late / "cache.py").write_text(CACHE.replace("TokenCache", "LateCache"))
    (late / "user.py").write_text("from cache import LateCache\n\ncache = LateCache()\n")
    await base.ingest(sorted(late.glob("*.py")), collection="late", audience="public")
    monkeypatch.setattr("knowledge.review._MAX_ROWS", 3)
    monkeypatch.setattr("knowledge.review._SEARCHED", 1)

    changed = await _ask(review, files=["cache.py"], repositories=["late"], max_results=1)
    asked = await _ask(
        review, query="How is the token cache invalidated?", repositories=["late"], max_results=1
    )

    assert changed["focus_areas"][0] == "cache.py: LateCache, invalidate_all, lookup_token"
    assert changed["references"][0]["file_path"] == "user.py"
    assert [each["repository"] for each in asked["references"]] == ["late"]
