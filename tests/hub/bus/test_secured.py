"""Sentinel and Cluster behind passwords and TLS: those of the servers and those of the sentinels are kept apart."""

import asyncio
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import RedisError

from hub.bus.connection import connect, connect_reader
from hub.bus.nodes import scan_pages, servers
from tests.servers.redis import free_port, redis_executables

PASSWORD, SENTINEL_PASSWORD = "of the servers", "of the sentinels"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate for this machine that nobody else has signed."""
    folder = tmp_path_factory.mktemp("tls")
    options = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    files = ("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"))
    names = ("-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run(["openssl", "req", *options.split(), *names, *files], check=True, capture_output=True)
    return folder


def tls(certificate: Path, port: int) -> list[str]:
    """Return the options of a server that speaks TLS alone."""
    options = {
        "port": "0",
        "tls-port": str(port),
        "tls-cert-file": str(certificate / "cert.pem"),
        "tls-key-file": str(certificate / "key.pem"),
        "tls-ca-cert-file": str(certificate / "cert.pem"),
        "tls-auth-clients": "no",
        "tls-replication": "yes",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


@contextmanager
def running(*commands: Sequence[str]) -> Iterator[None]:
    """Run servers while the block lasts."""
    with ExitStack() as started:
        for command in commands:
            process = subprocess.Popen(
                [redis_executables()[0], *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            started.callback(process.wait)
            started.callback(process.kill)
        yield


async def answering(url: str) -> Any:
    """Return a client once its server answers."""
    client: Any = connect(url)
    async with asyncio.timeout(20):
        while True:
            try:
                await client.get("hubbub:{0}:key")
                return client
            except RedisError:
                await asyncio.sleep(0.05)


async def check(url: str) -> None:
    """Use every kind of connection, and show that the URL without its secrets is of no use."""
    client = await answering(url)
    reader: Any = connect_reader(url)
    await client.xadd("hubbub:{0}:stream", {"a": 1})
    [[_, entries]] = await reader.xread({"hubbub:{0}:stream": "0-0"}, block=1000)
    assert len(entries) == 1
    assert [key async for page in scan_pages(client, "*", count=10) for key in page] == [b"hubbub:{0}:stream"]
    async with servers(client) as found:
        assert [await one.client.ping() for one in found] == [True]
    for wrong in (url.replace("of%20the%20servers", "guessed"), url.replace("ssl_ca_certs", "ssl_ca_path")):
        refused: Any = connect(wrong)
        with pytest.raises(RedisError):
            await refused.get("hubbub:{0}:key")
        await refused.aclose()
    await reader.aclose()
    await client.aclose()


async def test_a_master_behind_sentinels(certificate: Path, tmp_path: Path) -> None:
    """Each has a password of its own."""
    server, sentinel = free_port(), free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"sentinel monitor hub 127.0.0.1 {server} 1\n"
        f'sentinel auth-pass hub "{PASSWORD}"\nrequirepass "{SENTINEL_PASSWORD}"\ndir {tmp_path}\n'
    )
    url = (
        f"rediss+sentinel://:of%20the%20servers@127.0.0.1:{sentinel}/hub"
        f"?sentinel_password=of%20the%20sentinels&ssl_ca_certs={certificate / 'cert.pem'}"
    )
    with running(
        [*tls(certificate, server), "--requirepass", PASSWORD, "--dir", str(tmp_path), "--save", ""],
        [str(config), "--sentinel", *tls(certificate, sentinel)],
    ):
        await check(url)
        refused: Any = connect(url.replace("of%20the%20sentinels", "guessed"))
        with pytest.raises(RedisError, match="none of the 1 sentinels answers"):
            await refused.ping()
        await refused.aclose()


async def test_nodes_of_a_cluster(certificate: Path, tmp_path: Path) -> None:
    """One that owns all slots is enough to show it."""
    port = free_port()
    more = ["--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--tls-cluster", "yes"]
    url = f"rediss+cluster://:of%20the%20servers@127.0.0.1:{port}?ssl_ca_certs={certificate / 'cert.pem'}"
    with running(
        [*tls(certificate, port), *more, "--requirepass", PASSWORD, "--dir", str(tmp_path), "--save", ""]
    ):
        alone = await answering_node(url, port)
        await alone.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        await alone.aclose()
        await check(url)


async def answering_node(url: str, port: int) -> Any:
    """Return a client of the one node, which owns no slot yet."""
    secrets = url.partition("?")[2]
    client: Any = connect(f"rediss://:of%20the%20servers@127.0.0.1:{port}/0?{secrets}")
    async with asyncio.timeout(20):
        while True:
            try:
                await client.ping()
                return client
            except RedisError:
                await asyncio.sleep(0.05)
