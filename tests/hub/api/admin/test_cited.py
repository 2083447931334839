"""Earlier answers tell by HTTP that a document they cite is another by now, or gone."""

from pathlib import Path
from typing import Any

from hub.archive.projector import Projector
from hub.bus.connection import connect_reader
from hub.database import async_engine
from hub.keys import ApiKey
from hub.messages import Address, Source, Turn, conversation_id, utc_now
from tests.hub.api.admin.operating import FERRY, Operator, make
from tests.servers.redis import RedisServer

LATER = b"# Ferry\n\nThe ferry to Divar leaves every hour, from seven in the morning on.\n"
SESSION = "s1"


async def _cite(operator: Operator, document: dict[str, Any], server: RedisServer, data: Path) -> str:
    """Let the operator's own key have been answered from a document, in the window and in the archive."""
    bus, key = operator.api.parts.bus, await operator.api.parts.keys.verify(operator.headers["X-API-Key"])
    assert isinstance(key, ApiKey)
    conversation, now = conversation_id("api", key.id, SESSION), utc_now()
    source = Source(
        number=1,
        title=document["title"],
        location=document["location"],
        quote="The ferry leaves.",
        score=0.9,
        version=document["version"],
    )
    # A file that came with the message: it is no document of the hub, and nobody looks for it.
    attached = source.model_copy(update={"number": 2, "location": "mine.txt", "version": ""})
    turn = Turn(
        turn="1764449056123-0",
        address=Address(connector="api", account=key.id, chat=SESSION, person=f"{key.id}:{SESSION}"),
        question="When does the ferry leave?",
        answer="Every twenty minutes. [1]",
        sources=(source, attached),
        asked_at=now,
        answered_at=now,
    )
    client: Any = bus.redis
    await client.rpush(bus.keys(conversation).history(conversation), turn.model_dump_json())
    engine, reader = async_engine(f"sqlite:///{data / 'hubbub.db'}"), connect_reader(server.url)
    await Projector(bus.redis, reader, bus.history, engine).catch_up()
    await reader.aclose()
    await engine.dispose()
    return conversation


async def _states(operator: Operator, conversation: str) -> dict[str, list[str]]:
    """Read the states of the sources of the only turn, as its client and as operators see them."""
    status, told = await operator.call("GET", f"/conversations/{conversation}/turns")
    assert status == 200, told
    url, query = f"{operator.api.url}/api/v1/history", {"session_id": SESSION}
    async with operator.api.session.get(url, params=query, headers=operator.headers) as response:
        assert response.status == 200
        history = await response.json()
    shown = {"operator": told["items"], "history": history["turns"]}
    return {who: [source["state"] for source in turn["sources"]] for who, [turn] in shown.items()}


async def test_every_earlier_answer_tells_what_became_of_its_documents(
    operator: Operator, redis_server: RedisServer, data: Path
) -> None:
    """To the client in its session's history, and to operators who look through conversations."""
    await make(operator, "timetable")
    _, taken = await operator.upload("timetable", "ferry.md", FERRY)
    conversation = await _cite(operator, taken["document"], redis_server, data)
    same = await _states(operator, conversation)

    _, replaced = await operator.upload("timetable", "ferry.md", LATER)
    changed = await _states(operator, conversation)
    status, _ = await operator.call(
        "DELETE", f"/collections/timetable/documents/{replaced['document']['id']}"
    )
    gone = await _states(operator, conversation)

    assert (replaced["outcome"], status) == ("replaced", 204)
    assert same == {"operator": ["current", ""], "history": ["current", ""]}
    assert changed == {"operator": ["changed", ""], "history": ["changed", ""]}
    assert gone == {"operator": ["gone", ""], "history": ["gone", ""]}
