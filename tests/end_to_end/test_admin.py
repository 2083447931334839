"""A running hub and its operator by HTTP: a document is sent and answered from, removed and not answered from any more."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psutil
import pytest

from tests.hub_process import HubProcess

PREFIX = "/api/v1/admin"
DOCUMENT = (
    b"# Ferry to Divar\n\n## When does the ferry to Divar leave?\n\n"
    b"The ferry to Divar leaves every twenty minutes from the old jetty of Viddhurl, from six in the morning on.\n"
)
QUESTION = "When does the ferry to Divar leave?"


class Operator:
    """Calls the routes of a running hub."""

    def __init__(self, hub: HubProcess, key: str, client: aiohttp.ClientSession) -> None:
        self._hub, self._key, self._client = hub, key, client

    async def call(
        self, method: str, path: str, body: Any = None, *, data: bytes | None = None
    ) -> tuple[int, Any]:
        """Send a request; returns status and answer, bytes where it is no JSON."""
        async with self._client.request(
            method,
            f"{self._hub.url}{PREFIX}{path}",
            json=body,
            data=data,
            headers={"X-API-Key": self._key},
        ) as answer:
            if answer.status == 204:
                return 204, None
            is_json = answer.content_type.endswith("json")
            return answer.status, await answer.json() if is_json else await answer.read()


async def ask(hub: HubProcess, question: str, session: str) -> Any:
    """Ask the assistant."""
    status, answer = await hub.post("/chat", {"prompt": question, "session_id": session})
    assert status == 200, answer
    return answer


async def found(hub: HubProcess) -> list[str]:
    """Search, and give the documents."""
    status, answer = await hub.get("/search", q=QUESTION)
    assert status == 200
    return [one["source"] for one in answer["results"]]


async def until_searchable(hub: HubProcess, *, is_there: bool) -> None:
    """Wait until the engine has noticed a change of the documents."""
    async with asyncio.timeout(30):
        while ("ferry.md" in await found(hub)) is not is_there:
            await asyncio.sleep(0.1)


def loaded(hub: HubProcess) -> dict[str, set[str]]:
    """Tell of each process of the hub which of the libraries that compute models are loaded in it, by its role."""
    held: dict[str, set[str]] = {}
    for process in psutil.Process(hub.pid).children():
        words = process.cmdline()
        role = "engine" if "engine" in words else "redis" if "redis-server" in words[0] else "hub"
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        held.setdefault(role, set()).update(name for name in ("libtorch", "onnxruntime") if name in maps)
    return held


@pytest.mark.timeout(300)
async def test_an_operator_sends_and_removes_a_document(tmp_path: Path) -> None:
    """The answer names it as its source while it is there; the process of the API never loads a model for it."""
    async with HubProcess(tmp_path / "data") as hub, aiohttp.ClientSession() as client:
        key = (await hub.command("keys", "create", "--tier", "own", "--scope", "admin")).strip()
        operator = Operator(hub, key, client)
        before = await ask(hub, QUESTION, "s1")

        made = await operator.call("PUT", "/collections/timetable", {"audience": "public"})
        added = await operator.call("PUT", "/collections/timetable/documents?name=ferry.md", data=DOCUMENT)
        await until_searchable(hub, is_there=True)
        answered = await ask(hub, QUESTION, "s2")
        listed = await operator.call("GET", "/collections/timetable/documents")
        held = await asyncio.to_thread(loaded, hub)
        number = added[1]["document"]["id"]
        removed = await operator.call("DELETE", f"/collections/timetable/documents/{number}")
        await until_searchable(hub, is_there=False)
        after = await ask(hub, QUESTION, "s3")

        assert (made[0], added[0]) == (201, 201)
        assert [source["location"] for source in before["sources"]].count("ferry.md") == 0
        assert "twenty minutes" in answered["response"]
        assert [source["location"] for source in answered["sources"]] == ["ferry.md"]
        assert answered["sources"][0]["version"] == added[1]["document"]["version"]
        assert [one["location"] for one in listed[1]["items"]] == ["ferry.md"]
        assert removed == (204, None)
        assert "twenty minutes" not in after["response"]
        assert "ferry.md" not in [source["location"] for source in after["sources"]]
        assert held["hub"] == set()
        assert held["engine"] == {"onnxruntime"}


@pytest.mark.timeout(300)
async def test_an_operator_looks_at_exports_and_erases_a_person(tmp_path: Path) -> None:
    """What they told is shown, put right, handed out and removed; the receipt is the hub's."""
    async with HubProcess(tmp_path / "data") as hub, aiohttp.ClientSession() as client:
        key = (await hub.command("keys", "create", "--tier", "own", "--scope", "admin")).strip()
        operator = Operator(hub, key, client)
        await ask(hub, "My name is Quillfeather.", "s1")
        asker = hub.key.split("_")[2]
        identity = f"api/{asker}/{asker}:s1"

        _, people = await operator.call("GET", f"/people?identity={identity}")
        person = people["items"][0]["id"]
        _, shown = await operator.call("GET", f"/people/{person}")
        fact = shown["facts"][0]
        corrected = await operator.call("PUT", f"/people/{person}/facts/{fact['id']}", {"text": "Quillpen"})
        renamed = await ask(hub, "What is my name?", "s1")
        exported = await operator.call("GET", f"/people/{person}/export")
        begun = await operator.call("POST", "/erasures", {"identities": [identity]})
        async with asyncio.timeout(60):
            while (done := await operator.call("GET", f"/erasures/{begun[1]['id']}"))[1]["state"] != "done":
                await asyncio.sleep(0.1)
        receipt = tmp_path / "receipt.json"
        receipt.write_bytes(orjson.dumps(done[1]["receipt"]))
        gone = await operator.call("GET", f"/people/{person}")

        assert (fact["key"], fact["quote"]) == ("name", "My name is Quillfeather")
        assert corrected[0] == 200
        assert "Quillpen" in renamed["response"]
        assert (exported[0], exported[1][:2]) == (200, b"PK")
        assert "was made by this hub" in await hub.command("erase", "--verify", str(receipt))
        assert gone[0] == 404
