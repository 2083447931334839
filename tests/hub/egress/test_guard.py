"""The guard: whatever Python opens goes where the rules say, and nothing else leaves."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import aiohttp
import aiosmtplib
import pytest
import redis.exceptions
from structlog.testing import capture_logs

from hub.bus.connection import connect
from hub.egress import guard as guards
from hub.egress.guard import EgressGuard, EgressRefused, connecting_for
from hub.egress.ledger import MOST_PLACES, OTHERS, Ledger, Place
from hub.egress.loop import new_event_loop
from hub.egress.resolver import GuardedResolver
from hub.egress.rule import REDIS, Rule
from hub.errors import BusError
from hub.http_client import connection_fault
from tests.servers.redis import RedisServer
from tests.settings_tree import ROOT


@pytest.fixture
def listener() -> Iterator[int]:
    """Give the port of a server on this machine that takes connections and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., EgressGuard]:
    """Let a guard stand in this process for the length of a test."""
    monkeypatch.setattr(guards._Present, "guard", None)

    def make(*rules: Rule) -> EgressGuard:
        return guards.install(rules, process="test")

    return make


LOOPS = pytest.mark.parametrize(
    "loop_factory", [new_event_loop, asyncio.SelectorEventLoop], ids=["uvloop", "asyncio"]
)


@LOOPS
def test_an_event_loop_reaches_what_a_rule_names(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
    listener: int,
    install: Callable[..., EgressGuard],
) -> None:
    """By name, with the address that was found for it."""
    guard = install(Rule(host="localhost", port=listener, purpose="box"))

    async def reach() -> None:
        _, writer = await asyncio.open_connection("localhost", listener)
        writer.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(reach())

    assert {place: each.connections for place, each in guard.ledger.take().items()} == {
        Place("localhost", listener, "box"): 1
    }


@LOOPS
def test_an_http_client_reaches_what_a_rule_names(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
    install: Callable[..., EgressGuard],
) -> None:
    """It looks names up on its own, and connects to the addresses."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    async def ask() -> tuple[int, EgressGuard]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        guard = install(Rule(host="localhost", port=port, purpose="box"))
        async with (
            server,
            aiohttp.ClientSession() as session,
            session.get(f"http://LocalHost:{port}/") as answered,
        ):
            return answered.status, guard

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        status, guard = runner.run(ask())

    assert status == 204
    assert {place.purpose for place in guard.ledger.take()} == {"box"}


@LOOPS
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "192.0.2.1", "telemetry.invalid", "::1"])
def test_an_event_loop_reaches_nothing_else(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
    host: str,
    listener: int,
    install: Callable[..., EgressGuard],
) -> None:
    """Names are not even looked up; the first refusal of a place is logged, all are counted."""
    guard = install(Rule(host="localhost", port=listener + 1, purpose="box"))

    async def reach() -> None:
        for _ in range(2):
            with pytest.raises(EgressRefused, match=r"egress\.allow"):
                await asyncio.open_connection(host, listener)

    with capture_logs() as logs, asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(reach())

    assert [(log["event"], log["port"]) for log in logs] == [("egress_refused", listener)]
    assert [each.refused for each in guard.ledger.take().values()] == [2]


@LOOPS
def test_the_clients_of_the_hub_are_refused_in_words(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], install: Callable[..., EgressGuard]
) -> None:
    """HTTP, mail and Redis tell what to set, instead of a network that does not answer."""
    install()

    async def reach() -> list[str]:
        told = []
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError) as by_http:
                await session.get("http://telemetry.invalid/")
        told.append(connection_fault(by_http.value))
        with pytest.raises(aiosmtplib.SMTPConnectError) as by_mail:
            await aiosmtplib.SMTP(hostname="192.0.2.1", port=25, local_hostname="x").connect()
        told.append(str(by_mail.value))
        client = connect("redis://192.0.2.1:6379/0", connections=1)
        with pytest.raises((BusError, redis.exceptions.ConnectionError)) as by_redis:
            await client.ping()
        told.append(str(by_redis.value))
        await client.aclose()
        return told

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        told = runner.run(reach())

    assert all('"' in text and "egress.allow" in text for text in told), told


def test_datagrams_and_reverse_look_ups_are_refused(install: Callable[..., EgressGuard]) -> None:
    """Counters, name servers and the like are reached by other calls than `connect`."""
    install()

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        with pytest.raises(EgressRefused):
            end.sendto(b"x", ("192.0.2.1", 53))
        with pytest.raises(EgressRefused):
            end.sendmsg([b"x"], [], 0, ("192.0.2.1", 53))
        with pytest.raises(EgressRefused):
            end.connect(("192.0.2.1", 53))
    with pytest.raises(EgressRefused):
        socket.gethostbyname("telemetry.invalid")
    with pytest.raises(EgressRefused):
        socket.create_connection(("telemetry.invalid", 443))


async def test_unix_sockets_are_none_of_the_guards_business(install: Callable[..., EgressGuard]) -> None:
    """They do not leave the machine."""
    guard = install()
    left, right = socket.socketpair()

    left.sendall(b"x")

    assert right.recv(1) == b"x"
    assert not guard.ledger.has_news
    left.close()
    right.close()


async def test_a_scoped_rule_holds_for_its_purpose_alone(
    listener: int, install: Callable[..., EgressGuard]
) -> None:
    """What fetches models may ask their hub; a library that asks the same hub on its own may not."""
    guard = install(Rule(host="localhost", port=listener, purpose="model hub", is_scoped=True))

    with pytest.raises(EgressRefused):
        socket.create_connection(("localhost", listener))
    with connecting_for("model hub"):
        # Of any family, as clients ask: of one alone the system finds none where the machine has no network but itself.
        found = await GuardedResolver().resolve("localhost", listener, socket.AF_UNSPEC)
        address = next(each["host"] for each in found if each["family"] == socket.AF_INET)
        reader, writer = await asyncio.open_connection(address, listener)
    writer.close()
    with pytest.raises(EgressRefused):
        socket.create_connection((address, listener))

    assert guard.ledger.take()[Place("localhost", listener, "model hub")].connections == 1
    assert reader is not None


async def test_the_nodes_of_a_redis_cluster_are_reached_by_its_clients_alone(
    redis_server: RedisServer, install: Callable[..., EgressGuard]
) -> None:
    """Where they are is told by Redis, not by the settings."""
    guard = install(Rule(host="*", purpose=REDIS, is_scoped=True))

    client = connect(redis_server.url, connections=1)
    await client.ping()
    await client.aclose()

    [(place, each)] = guard.ledger.take().items()
    assert (place.purpose, each.connections) == (REDIS, 1)


def test_the_ledger_stays_small_however_many_hosts_are_asked() -> None:
    """Pages lie anywhere; what is beyond its size is counted together."""
    ledger = Ledger()

    for number in range(MOST_PLACES + 10):
        ledger.note(Place(f"host-{number}", 443, "pages"))

    taken = ledger.take()
    assert len(taken) == MOST_PLACES + 1
    assert taken[Place(OTHERS, 0, "pages")].connections == 10
    assert ledger.take() == {}


PHONES_HOME = """
import os, sys
os.environ.pop("HF_HUB_OFFLINE", None)
os.environ.pop("HF_HUB_DISABLE_TELEMETRY", None)
from hub.egress.guard import install
from hub.settings import Settings
from hub.egress.derive import rules_of
guard = install(rules_of(Settings()), process="test")
from huggingface_hub import HfApi
from huggingface_hub.utils import send_telemetry
import huggingface_hub.utils._telemetry as telemetry
send_telemetry("hubbub/test", library_name="hubbub")
if telemetry._TELEMETRY_THREAD:
    telemetry._TELEMETRY_QUEUE.join()
try:
    HfApi().model_info("gpt2")
except Exception as error:
    print(type(error).__name__, error)
print([(*place, each.refused >= 2) for place, each in guard.ledger.take().items()])
"""


def test_a_library_that_phones_home_is_caught() -> None:
    """huggingface_hub tells its makers of every use, and asks for models; neither gets out, nor is a name looked up."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUBBUB_"))}

    done = subprocess.run(
        [sys.executable, "-c", PHONES_HOME],
        cwd=ROOT,
        env=clean,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert "[('huggingface.co', 443, '', True)]" in done.stdout, done.stdout + done.stderr
    assert "egress_refused" in done.stdout + done.stderr
