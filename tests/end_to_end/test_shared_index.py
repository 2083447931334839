"""Two machines share one index in a Redis with the Query Engine, and their documents in PostgreSQL."""

import asyncio
import json
from pathlib import Path

import pytest
from redis import Redis

from knowledge.index.redis_keys import PREFIX
from tests.hub_process import HubProcess
from tests.servers.postgresql import PostgresqlServer
from tests.servers.redis import RedisServer, query_engine, redis_8

QUESTION = "What does the valve ZB-9001 cost?"
PRICES = "# Valves\n\nThe valve ZB-9001 is made of brass and costs {price} euros.\n"


@pytest.mark.skipif(not (redis_8() and query_engine()), reason="there is no build of them for this machine")
@pytest.mark.timeout(240)
async def test_machines_find_each_others_documents(
    searching: RedisServer, postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    """What one takes in and changes, the other answers from; no vector lies in a file of either."""
    with Redis.from_url(searching.url) as redis, postgresql.database("template0") as database:
        redis.flushall()
        shared = {
            "HUBBUB_BUS__REDIS_URL": searching.url,
            "HUBBUB_DATABASE_URL": database,
            "HUBBUB_KNOWLEDGE__INDEX": "redis",
        }
        other = HubProcess(tmp_path / "other", shared)
        async with HubProcess(tmp_path / "data", shared) as hub:
            page = tmp_path / "parts.md"
            page.write_text(PRICES.format(price=17))
            await other.command("ingest", str(page))
            first = await _answered(hub)
            page.write_text(PRICES.format(price=23))
            await other.command("ingest", str(page))
            changed = await _answered(hub)
            found = json.loads(await other.command("search", QUESTION, "--json"))
            # Whoever loses the definition of the index makes it again, over the vectors that are there.
            [name] = redis.execute_command("FT._LIST")
            redis.ft(name.decode()).dropindex()
            await hub.stop()
            await hub.start()
            again = await _answered(hub)
            # Redis reads what is there already in the background.
            async with asyncio.timeout(60):
                while float((told := redis.ft(name.decode()).info())["percent_indexed"]) < 1:
                    await asyncio.sleep(0.05)
            counted = int(told["num_docs"])

        assert "17" in first
        assert "23" in changed
        assert "17" not in changed
        assert again == changed
        assert found[0]["source"].endswith("parts.md")
        vectors = len(list(redis.scan_iter(f"{PREFIX}*", _type="hash"))) - 1
        assert counted == vectors > 1
    assert not [path for folder in (hub.data, other.data) for path in folder.rglob("*.faiss")]


async def _answered(hub: HubProcess) -> str:
    status, answer = await hub.post("/chat", {"prompt": QUESTION, "session_id": "s1"})
    assert status == 200, answer
    return str(answer["response"])
