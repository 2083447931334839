"""`warm`: searches that will be asked are asked now, so that the running hub answers them from its cache."""

import asyncio
from pathlib import Path

import typer

from hub.app import redis_url
from hub.bus.bus import Bus
from hub.bus.calls import Caller
from hub.bus.connection import connect_reader
from hub.cli.printing import print_json
from hub.cli.progress import working
from hub.settings import Settings
from knowledge.questions import Query, read_queries

AT_ONCE = 4
"""Searches under way together; more would only wait for the embedding model."""
TIMEOUT_S = 30.0


def warm_cache(settings: Settings, file: Path, *, as_json: bool) -> None:
    """Let the running hub search for every query of a file, and print how many were new to its cache.

    Raises: KnowledgeError: the file cannot be read. SettingsError, CallFailed: no hub runs, or no engine.
    """
    queries = read_queries(file)
    with working(f"searching for {len(queries)} queries", hidden=as_json):
        fresh = asyncio.run(_warm(settings, queries))
    if as_json:
        print_json({"queries": len(queries), "fresh": fresh})
        return
    typer.echo(f"{len(queries)} searches are in the cache; {fresh} of them were not before.")


async def _warm(settings: Settings, queries: list[Query]) -> int:
    bus = Bus(redis_url(settings), settings.bus)
    caller, stop = Caller(bus.redis, connect_reader(bus.url)), asyncio.Event()
    receiving = asyncio.create_task(caller.run(stop))
    may_ask = asyncio.Semaphore(AT_ONCE)

    async def ask(query: Query) -> bool:
        async with may_ask:
            request = {"q": query.text, "k": query.k}
            answer = await caller.call("search", request, timeout_s=TIMEOUT_S)
        return not answer.get("from_cache", False)

    try:
        async with asyncio.TaskGroup() as asking:
            asked = [asking.create_task(ask(query)) for query in queries]
        return sum(task.result() for task in asked)
    except ExceptionGroup as group:
        # One failed search stands for all: they fail for the same reason.
        raise group.exceptions[0] from None
    finally:
        stop.set()
        await asyncio.gather(receiving, return_exceptions=True)
        await bus.close()
