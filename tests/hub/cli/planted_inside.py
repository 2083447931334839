"""Misconfigurations of the machine, its files, Redis and the database."""

import os
import shutil
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy import insert

from hub.backup.unfinished import mark_folder, mark_redis
from hub.bus.keys import Keys
from hub.database import database_url, sync_engine
from hub.messages import utc_now
from hub.settings import Settings
from knowledge.tables import ChunkRow, CollectionRow, DocumentRow
from tests.hub.cli.bench import SECRET, Bench, case
from tests.servers.redis import RedisServer, free_port


@case("machine", "fail", "port", "Address already in use", "`port`")
def port_taken(bench: Bench) -> None:
    """Another program listens there."""
    taken = socket.create_server(("127.0.0.1", 0))
    bench.settings["api"] = {"port": taken.getsockname()[1]}

    async def close() -> None:
        taken.close()

    bench.closing.append(close)


@case("machine", "fail", "port", "port 8080 of 203.0.113.9", "`host`")
def address_of_another_machine(bench: Bench) -> None:
    """The host is not this machine's."""
    bench.settings["api"] = {"host": "203.0.113.9"}


@case("machine", "warn", "disk", "0.5 GB free", "`data`")
def disk_nearly_full(bench: Bench) -> None:
    """Half a gigabyte is left."""
    usage = SimpleNamespace(free=500_000_000)
    bench.patch.setattr(shutil, "disk_usage", lambda _: usage)


@case("machine", "fail", "disk", "the disk is full", "Free some room")
def disk_full(bench: Bench) -> None:
    """A megabyte is left."""
    usage = SimpleNamespace(free=1_000_000)
    bench.patch.setattr(shutil, "disk_usage", lambda _: usage)


@case("files", "fail", "data folder", "cannot be written", "chown")
def data_folder_not_writable(bench: Bench) -> None:
    """Not even root may write there."""
    bench.settings["data"] = Path("/proc/hubbub-data")


@case("files", "fail", "data folder", "is no folder", "--data")
def data_folder_is_a_file(bench: Bench) -> None:
    """A file stands in its place."""
    (bench.data / "file").touch()
    bench.settings["data"] = bench.data / "file"


@case("files", "warn", "data folder", "other users of this machine", "chmod 700")
def data_folder_readable_by_all(bench: Bench) -> None:
    """As `mkdir` makes it."""
    bench.data.chmod(0o755)


@case("files", "warn", "data folder", "belongs to the user", "sudo -u")
def data_folder_of_another_user(bench: Bench) -> None:
    """The doctor was called as root."""
    bench.patch.setattr(os, "geteuid", lambda: 54321)


@case("files", "warn", "log.jsonl", "2.1 GB", "interactions = false")
def log_grows(bench: Bench) -> None:
    """Nobody has looked at it for long."""
    bench.settings["log"] = {"interactions": True}
    with (bench.data / "log.jsonl").open("wb") as file:
        file.truncate(2 << 30)


@case("files", "warn", "secrets", "telegram.token", "chmod 600")
def secrets_in_settings(bench: Bench) -> None:
    """A token in settings.toml, which everybody may read."""
    path = bench.data / "settings.toml"
    path.write_text(f'[telegram]\ntoken = "{SECRET}"\n')
    path.chmod(0o644)
    bench.patch.setenv("HUBBUB_SETTINGS", str(path))


@case("files", "warn", "secrets", ".env holds secrets", "chmod 600")
def env_readable_by_all(bench: Bench) -> None:
    """As an editor makes it."""
    bench.patch.chdir(bench.data)
    (bench.data / ".env").write_text(f"HUBBUB_EMAIL__PASSWORD={SECRET}\n")
    (bench.data / ".env").chmod(0o644)


@case("files", "fail", "restore", "has not finished", "hubbub restore")
def half_a_restore(bench: Bench) -> None:
    """A restore was killed."""
    mark_folder(bench.data)


@case("redis", "fail", "redis", "6.2", "apt install redis-server")
def redis_too_old(bench: Bench) -> None:
    """The program that is to be embedded is an old one."""
    program = bench.data / "redis-server"
    program.write_text("#!/bin/sh\necho 'Redis server v=5.0.7 sha=00000000:0 malloc=libc bits=64'\n")
    program.chmod(0o755)
    bench.settings["bus"] = {"redis_server": str(program)}


@case("redis", "fail", "redis", "cannot connect|refused|Connect", "Start that server")
def redis_away(bench: Bench) -> None:
    """Nothing listens there."""
    bench.settings["bus"] = {"redis_url": f"redis://:{SECRET}@127.0.0.1:{free_port()}/0"}


@case("redis", "fail", "redis", "password|WRONGPASS", "password is wrong")
async def redis_wrong_password(bench: Bench) -> None:
    """Another one than the server's."""
    client: Any = await bench.redis()
    await client.config_set("requirepass", "right")
    server: RedisServer = bench.server("own_redis")
    bench.settings["bus"] = {"redis_url": server.url.replace("://", f"://:{SECRET}@")}


@case("redis", "fail", "redis", "HELLO must|Authentication required", "wants a password")
async def redis_no_password(bench: Bench) -> None:
    """The server wants one."""
    client: Any = await bench.redis()
    await client.config_set("requirepass", "right")


@case("redis", "fail", "redis", "maxmemory-policy is allkeys-lru", "CONFIG SET maxmemory-policy noeviction")
async def redis_wrong_policy(bench: Bench) -> None:
    """It would drop messages."""
    client: Any = await bench.redis()
    await client.config_set("maxmemory-policy", "allkeys-lru")


@case("redis", "fail", "redis", "appendonly is no", "CONFIG SET appendonly yes")
async def redis_no_aof(bench: Bench) -> None:
    """It would forget messages."""
    client: Any = await bench.redis()
    await client.config_set("appendonly", "no")


@case("redis", "fail", "redis", "appendfsync is everysec", "CONFIG SET appendfsync always")
async def redis_late_fsync(bench: Bench) -> None:
    """A power cut would lose a second."""
    client: Any = await bench.redis()
    await client.config_set("appendfsync", "everysec")


@case("redis", "warn", "redis memory", "it may", "CONFIG SET maxmemory")
async def redis_memory_nearly_full(bench: Bench) -> None:
    """Soon messages are refused."""
    client: Any = await bench.redis()
    await client.config_set("maxmemory", "1mb")


@case("redis", "warn", "clock", "differ by 9", "timedatectl set-ntp true")
async def clock_skew(bench: Bench) -> None:
    """The clock of this machine goes before."""
    await bench.redis()
    now = time.time
    bench.patch.setattr("hub.cli.doctor.redis.time", SimpleNamespace(time=lambda: now() + 99))


@case("redis", "warn", "dead letters", "2 messages were given up", "hubbub dead")
async def dead_letters(bench: Bench) -> None:
    """Somebody should look at them."""
    client: Any = await bench.redis()
    for number in range(2):
        await client.xadd(Keys().dead, {"queue": "inbound", "lane": f"l{number}", "reason": "x", "body": ""})


@case("redis", "fail", "restore", "has not finished", "hubbub restore")
async def half_a_restore_in_redis(bench: Bench) -> None:
    """A restore was killed on another machine."""
    await mark_redis(await bench.redis())


@case("redis", "fail", "engine process", "no engine", "hubbub run engine")
async def no_engine(bench: Bench) -> None:
    """The hub takes messages that nobody answers."""
    await bench.alive("hub")


@case("redis", "fail", "hub process", "no hub", "hubbub run api")
async def no_hub(bench: Bench) -> None:
    """An engine with nothing to do."""
    await bench.alive("engine")


@case("database", "fail", "database", "revision 9999", "Update Hubbub")
def database_newer(bench: Bench) -> None:
    """Another version has run on it."""
    with closing(sqlite3.connect(bench.database())) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()


@case("database", "fail", "database", "not a database", "hubbub restore")
def database_damaged(bench: Bench) -> None:
    """Its file is no database."""
    (bench.data / "hubbub.db").write_bytes(b"garbage" * 1000)


@case("database", "fail", "database", "refused", "HUBBUB_DATABASE_URL")
def database_away(bench: Bench) -> None:
    """Nothing listens there."""
    bench.settings["database_url"] = f"postgresql://hub:{SECRET}@127.0.0.1:{free_port()}/hub"


@case("database", "fail", "database", "expected sqlite:// or postgresql://", "HUBBUB_DATABASE_URL")
def database_of_another_kind(bench: Bench) -> None:
    """One that the hub does not speak."""
    bench.settings["database_url"] = f"mysql://hub:{SECRET}@127.0.0.1/hub"


@case("database", "warn", "operators", "no operator", "hubbub operator add")
def no_operator(bench: Bench) -> None:
    """Nobody may look after documents by HTTP."""
    bench.database()


@case("database", "warn", "documents", "other-model@1234 (10 dimensions)", "`embedding_model`")
def other_embeddings(bench: Bench) -> None:
    """The embedding model was changed since."""
    bench.database()
    engine = sync_engine(database_url(Settings(_env_file=None, data=bench.data)))
    with engine.begin() as connection:
        connection.execute(insert(CollectionRow).values(name="c", audience="public", created_at=utc_now()))
        document = {"id": 1, "collection": "c", "root": "/", "location": "a", "title": "a", "version": "1"}
        more = {"media_type": "text/plain", "size_bytes": 1, "added_at": utc_now()}
        connection.execute(insert(DocumentRow).values(document | more))
        chunk = {"document_id": 1, "ordinal": 0, "heading": "", "text": "a", "text_hash": "x"}
        more = {"embedding": bytes(40), "embedding_model": "other-model@1234"}
        connection.execute(insert(ChunkRow).values(chunk | more))
    engine.dispose()
