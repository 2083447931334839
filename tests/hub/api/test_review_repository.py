"""POST /api/v1/review/rag-context over a git repository that was really taken in, by the service that engines run."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hub.bus.calls import serve
from hub.bus.connection import connect_reader
from hub.database import async_engine, database_url
from hub.settings import KnowledgeSettings, Settings
from knowledge.review import RepositoryReview
from knowledge.search import KnowledgeBase
from knowledge.sources.git import GitSource
from knowledge.sources.git_program import GitLimits
from tests.hub.api.serving import Api
from tests.knowledge.repositories import commit, git, repository

FILES = {
    "src/cache.py": (
        "class TokenCache:\n"
        "    def invalidate_all(self, reason: str) -> None:\n"
        "        self._entries.clear()\n"
    ),
    "src/routes.py": (
        "from cache import TokenCache\n\n\n"
        "def sign_out(request, cache: TokenCache):\n"
        '    cache.invalidate_all("sign out")\n'
    ),
    "src/billing.py": "def total_of(invoice):\n    return sum(line.amount for line in invoice.lines)\n",
    "docs/operations.md": (
        "# Operations\n\n## Invalidating the token cache\n\n"
        "After a change of keys every token in the cache must be invalidated.\n\n"
        "## Invoices\n\nInvoices are written once a month.\n"
    ),
    "package-lock.json": '{"TokenCache": "invalidate_all"}',
}
PATH = "/api/v1/review/rag-context"


class Reviewed:
    """A hub whose engine answers reviewers, and the repository it knows."""

    def __init__(self, api: Api, base: KnowledgeBase, tmp_path: Path) -> None:
        self._api = api
        self._base = base
        self._tmp_path = tmp_path

    async def take_in(self, folder: Path, collection: str = "documents", audience: str | None = None) -> None:
        """Take in the newest commit of a repository."""
        limits = GitLimits(max_bytes=50_000_000, timeout_s=60)
        source = GitSource(str(folder), self._tmp_path / "work", limits, max_document_bytes=1_000_000)
        report = await self._base.ingest([], collection=collection, audience=audience, sources=[source])
        assert report.failed == {}

    async def ask(self, **body: Any) -> Any:
        """Ask as a reviewer does."""
        async with self._api.session.post(
            f"{self._api.url}{PATH}", json=body, headers=self._api.headers
        ) as response:
            assert response.status == 200, await response.text()
            answer = await response.json()
        assert (answer["enabled"], answer["degraded"]) == (True, False)
        return answer


@pytest.fixture
async def reviewed(bare_api: Api, data: Path, tmp_path: Path) -> AsyncIterator[Reviewed]:
    """Such a hub, over the database of the server."""
    knowledge = KnowledgeSettings(bundled_docs=False, readers=1)
    settings = Settings(_env_file=None, data=data, knowledge=knowledge)
    base = await KnowledgeBase.open(settings)
    engine, bus = async_engine(database_url(settings)), bare_api.parts.bus
    services = {"review": RepositoryReview(base, engine).answer}
    bare_api.tasks.create_task(serve(bus.redis, connect_reader(bus.url), services, bare_api.stop))
    bare_api.headers = await bare_api.new_key()
    yield Reviewed(bare_api, base, tmp_path)
    await base.close()
    await engine.dispose()


async def test_a_reviewer_is_told_what_a_change_touches(reviewed: Reviewed, tmp_path: Path) -> None:
    """Files, symbols and documents to look at, with references; nothing of what is for operators alone."""
    shop = repository(tmp_path / "shop-api", FILES)
    await reviewed.take_in(shop)
    secret = repository(tmp_path / "vault", {"keys.py": "from cache import TokenCache\n\nTokenCache()\n"})
    await reviewed.take_in(secret, "vault", "operator")

    found = await reviewed.ask(files=["src/cache.py"], repositories=["acme/shop-api"], max_results=5)
    everywhere = await reviewed.ask(files=["src/cache.py"], query="Who uses the token cache?")

    assert found["focus_areas"][0] == "src/cache.py: TokenCache, invalidate_all"
    assert "src/routes.py uses TokenCache, invalidate_all" in found["focus_areas"]
    assert found["areas"]["files"][:2] == ["src/cache.py", "src/routes.py"]
    assert found["areas"]["symbols"][:2] == ["TokenCache", "invalidate_all"]
    assert any("Invalidating the token cache" in each for each in found["areas"]["docs"])
    first = found["references"][0]
    assert (first["repository"], first["file_path"], first["kind"]) == ("shop-api", "src/routes.py", "code")
    assert 'cache.invalidate_all("sign out")' in first["summary"]
    assert "docs/operations.md" in [each["file_path"] for each in found["references"]]
    assert {each["repository"] for each in everywhere["references"]} == {"shop-api"}
    assert "package-lock.json" not in str(found) + str(everywhere)


async def test_what_is_told_is_of_the_newest_commit_that_was_taken_in(
    reviewed: Reviewed, tmp_path: Path
) -> None:
    """A file that is gone is no reference any more, and a new caller is one."""
    shop = repository(tmp_path / "shop-api", FILES)
    await reviewed.take_in(shop)
    git(shop, "rm", "-q", "src/routes.py")
    commit(
        shop, {"src/jobs.py": "from cache import TokenCache\n\n\ndef nightly(cache: TokenCache):\n    ...\n"}
    )
    await reviewed.take_in(shop)

    found = await reviewed.ask(files=["src/cache.py"])

    paths = [each["file_path"] for each in found["references"]]
    assert paths[0] == "src/jobs.py"
    assert "src/routes.py" not in paths
