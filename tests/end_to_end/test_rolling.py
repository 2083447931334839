"""The services of docker-compose.yml on real servers, nginx in front, each replaced while people write on every channel."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from hub.bus.connection import connect
from hub.bus.keys import Keys
from hub.bus.reader import ORPHANS
from tests.emulators.bot_api import BotApi
from tests.emulators.endpoint import Endpoint, says
from tests.end_to_end.composed import Composed
from tests.end_to_end.people import HUB
from tests.end_to_end.writers import Front, Said, Writers, sum_of
from tests.faults.fleet import NOTHING, seeded, unfinished
from tests.hub_process import HubProcess
from tests.servers.dovecot import Dovecot
from tests.servers.nginx import NginxServer
from tests.servers.postgresql import PostgresqlServer
from tests.servers.redis import RedisServer
from tests.servers.smtp import SmtpServer, account_at
from tests.settings_tree import ROOT

QUEUES = {"inbound": "engine"} | {
    f"outbound:{name}": "senders" for name in ("api", "web", "telegram", "email")
}
"""Streams and their groups."""
Row = dict[str, Any]


@pytest.mark.timeout(600)
async def test_every_service_is_replaced_under_load_and_nothing_is_lost_or_doubled(
    data: Path, tmp_path: Path, postgresql: PostgresqlServer, dovecot: Dovecot, smtp: SmtpServer
) -> None:
    """SIGTERM, then another takes its place: each message is answered once, in order, and kept once."""
    dice = seeded("rolling")
    for name in ("redis", "nginx"):
        (tmp_path / name).mkdir()
    with postgresql.database("template0") as database, RedisServer(tmp_path / "redis") as redis:
        hub = HubProcess(
            data,
            {"HUBBUB_DATABASE_URL": database, "HUBBUB_BUS__REDIS_URL": redis.url, "PYTHONPATH": str(ROOT)},
            folder=tmp_path,
        )
        with NginxServer(tmp_path / "nginx", hub.port) as nginx:
            tls = ssl.create_default_context(cafile=str(nginx.certificate))
            async with BotApi(trusted=tls) as telegram, Endpoint(says("Let me see.")) as model:
                (tmp_path / "settings.toml").write_text(_settings(model))
                hub.key = (await hub.command("keys", "create", "--tier", "own")).strip()
                writers = Writers(Front(nginx.url, hub.key, tls), dice)
                given = {**hub.settings, **_dotenv(nginx, telegram, [account_at(HUB, dovecot, smtp)])}
                async with Composed(hub, given, _here(hub, telegram)) as services:
                    async with _writing(writers, telegram, dovecot, smtp):
                        await writers.moved()
                        for name in services.names:
                            await services.stop(name)
                            await writers.pause(0.5)
                            await services.start(name)
                            await writers.moved()
                    kept = await _kept(database, sum(len(said.questions) for said in writers.said))
        left = await _left(redis.url)

    assert writers.repeated > 0, "nobody noticed that anything was replaced"
    assert {said.channel for said in writers.said} == {"api", "web", "telegram", "email"}
    for said in writers.said:
        _check(said, [row for row in kept if _is_of(said, row)])
    assert left == {queue: NOTHING | {"consumers": 0} for queue in QUEUES}


def _settings(model: Endpoint) -> str:
    """Return what stands in settings.toml: a server of models whose answers take no time."""
    return (
        f'[models.fast]\ntype = "remote"\nbase_urls = ["{model.base_url}"]\nmodel = "fast"\n'
        '[engine]\nmodel = "fast"\n'
    )


def _dotenv(nginx: NginxServer, telegram: BotApi, accounts: list[Row]) -> dict[str, str]:
    return {
        "HUBBUB_API__PUBLIC_URL": nginx.url,
        "HUBBUB_TELEGRAM__TOKEN": telegram.token,
        "HUBBUB_EMAIL__ACCOUNTS": json.dumps(accounts),
    }


def _here(hub: HubProcess, telegram: BotApi) -> dict[str, str]:
    return {
        "HUBBUB_API__HOST": "127.0.0.1",
        "HUBBUB_API__PORT": str(hub.port),
        "HUBBUB_API__TRUSTED_PROXIES": '["127.0.0.1/32"]',
        "HUBBUB_TELEGRAM__API_BASE": telegram.url,
        # One person writes all mails here, more than one would.
        "HUBBUB_EMAIL__REPLIES_PER_SENDER_10MIN": "1000",
        "HUBBUB_EMAIL__REPLIES_PER_SENDER_DAY": "1000",
    }


@asynccontextmanager
async def _writing(
    writers: Writers, telegram: BotApi, dovecot: Dovecot, smtp: SmtpServer
) -> AsyncIterator[None]:
    """Let people write while the block lasts, and until they have their last answers."""
    async with asyncio.TaskGroup() as tasks:
        for task in (
            writers.program("one"),
            writers.program("two"),
            writers.visitor("page"),
            writers.chat(telegram, 501),
            writers.chat(telegram, 502),
            writers.correspondent(dovecot, smtp),
        ):
            tasks.create_task(task)
        # Each has to open its conversation.
        await asyncio.sleep(0)
        yield
        writers.over.set()


async def _kept(database: str, asked: int) -> list[Row]:
    """Wait until the archive has as many turns as questions were asked, each with its delivery, and return all."""
    query = "SELECT * FROM archived_turns ORDER BY place"
    until = asyncio.get_running_loop().time() + 120
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        while True:
            cursor = connection.cursor(row_factory=dict_row)
            rows = await (await cursor.execute(query)).fetchall()
            open_rows = [row for row in rows if not row["delivery"]]
            if len(rows) >= asked and not open_rows:
                return rows
            assert asyncio.get_running_loop().time() < until, (len(rows), asked, open_rows)
            await asyncio.sleep(0.2)


def _is_of(said: Said, row: Row) -> bool:
    # A visitor and the threads of a correspondent have names that the hub gives; here is one of each.
    return row["connector"] == said.channel and (
        said.channel in ("web", "email") or row["address"]["chat"] == said.name
    )


def _check(said: Said, rows: list[Row]) -> None:
    """Compare what somebody remembers of a conversation with what the archive says of it."""
    assert [row["question"] for row in rows] == said.questions
    assert {(row["kind"], row["delivery"], row["unclear_sends"]) for row in rows} == {("answer", "placed", 0)}
    assert len(said.answers) == len(said.questions)
    for question, answer in zip(said.questions, said.answers, strict=True):
        assert sum_of(question) in answer
    if said.channel == "api":
        assert [row["turn"] for row in rows] == said.turns
        assert [row["answer"] for row in rows] == said.answers
    assert len(set(said.turns)) == len(said.turns)


async def _left(url: str) -> dict[str, dict[str, int]]:
    """Return what is left of each queue when all processes have ended, their names included."""
    redis: Any = connect(url)
    left = {}
    for queue, group in QUEUES.items():
        consumers = await redis.xinfo_consumers(Keys().stream(queue), group)
        names = {each["name"].decode() for each in consumers} - {ORPHANS}
        left[queue] = await unfinished(redis, queue) | {"consumers": len(names)}
    await redis.aclose()
    return left
