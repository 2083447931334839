"""Secrets stay secret: a hub whose every secret is known to this test says none of them anywhere, whatever goes wrong."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator

import aiohttp
import orjson
import psutil
import pytest
import pytest_asyncio
import redis

from tests.emulators.bot_api import BotApi
from tests.emulators.endpoint import Connection, Endpoint
from tests.emulators.vault import Vault
from tests.hub_process import HubProcess
from tests.planting import MARK, WAYS, planted
from tests.servers import dovecot as dovecot_server
from tests.servers.dovecot import Dovecot
from tests.servers.redis import RedisServer
from tests.settings_tree import ROOT

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

MAILBOX = "help@example.org"
COMMANDS = """
import json, os, sys
from hub.cli import main
for environment, words in json.loads(sys.argv[1]):
    os.environ.update(environment)
    sys.argv = ["hubbub", *words]
    try:
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code
    print("\\n##", words[0], code, flush=True)
from hub.cli.options import Begun
raise RuntimeError(Begun.settings.telegram.token.get_secret_value())
"""
"""Several commands in one process, which ends with a traceback that holds a secret."""


async def refuses_and_repeats(connection: Connection) -> None:
    """Refuse a key, and say which, as some services do."""
    key = connection.request.headers.get("authorization", "")
    await connection.begin(status="401 Unauthorized", Content_Type="application/json")
    await connection.write(
        orjson.dumps({"error": {"message": f"Incorrect API key provided: {key}", "code": key}})
    )


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    """A mail server that knows the mailbox by another password."""
    with dovecot_server.running(MAILBOX) as server:
        yield server


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis whose password is one of the planted secrets."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        client = redis.Redis(port=server.port)
        client.config_set("requirepass", f"{MARK}bus-redis_url-0001")
        client.close()
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(
    tmp_path_factory: pytest.TempPathFactory, dovecot: Dovecot, bus: RedisServer
) -> AsyncIterator[HubProcess]:
    """A whole hub, each of whose secrets comes by another way than the one before it, and most of which are wrong."""
    folder = tmp_path_factory.mktemp("planted")
    account = {
        "address": MAILBOX, "imap_host": dovecot.host, "imap_port": str(dovecot.port), "imap_tls": "none",
        "smtp_host": "127.0.0.1", "smtp_port": "9", "smtp_tls": "none",
    }  # fmt: skip
    async with BotApi() as telegram, Endpoint(refuses_and_repeats) as endpoint:
        with Vault().in_thread() as vault:
            settings = {"HUBBUB_TELEGRAM__API_BASE": telegram.url, "HUBBUB_VAULT__TIMEOUT_S": "5"}
            settings |= {"HUBBUB_KNOWLEDGE__BUNDLED_DOCS": "false", "HUBBUB_EMAIL__POLL_S": "1"}
            (folder / "settings.toml").write_text(
                f'[models.far]\ntype = "remote"\nbase_urls = ["{endpoint.base_url}"]\nmodel = "m"\n'
                '[connectors.shop]\ntype = "http"\ncallback_url = "http://127.0.0.1:9/"\n'
            )
            values = planted(account=account, redis=f"127.0.0.1:{bus.port}")
            del values["database_url"]
            ways = [WAYS[name] for name in ("environment", "dotenv", "files", "folder", "vault")]
            for number, way in enumerate(ways):
                settings |= way(folder, dict(list(values.items())[number :: len(ways)]), vault)
            async with HubProcess(
                folder / "data", settings | {"PYTHONPATH": str(ROOT)}, folder=folder
            ) as running:
                yield running


async def test_the_log_tells_what_was_refused_and_no_secret(hub: HubProcess) -> None:
    """Telegram does not know the token, the mail server not the password, the model's server not the key."""
    question = {"model": "far", "messages": [{"role": "user", "content": "Hi"}]}
    status, answer = await hub.post("/v1/chat/completions", question)

    async with asyncio.timeout(20):
        while not all(event in hub.log() for event in ("telegram_token_refused", "mailbox_unreachable")):
            await asyncio.sleep(0.1)

    assert status >= 400
    assert MARK not in json.dumps(answer)
    assert MARK not in hub.log()


async def test_no_process_shows_a_secret_to_others(hub: HubProcess) -> None:
    """Arguments are everybody's to read; programs that have no use for secrets do not get them at all."""
    family = [psutil.Process(hub.pid), *psutil.Process(hub.pid).children(recursive=True)]
    roles = [process.cmdline()[2:5] for process in family]

    assert ["hub", "run", "--attached"] in roles
    assert ["engine.models.host"] in [role[:1] for role in roles]
    for process in family:
        assert MARK not in " ".join(process.cmdline())
        if process.cmdline()[2:3] != ["hub"]:
            assert MARK not in json.dumps(process.environ()), process.cmdline()


async def test_no_route_answers_with_a_secret(hub: HubProcess) -> None:
    """Every route of the API's own document, called by somebody who may do everything."""
    key = (
        await hub.command("keys", "create", "--tier", "own", "--scope", "admin", "--scope", "models")
    ).strip()
    headers, asked = {"X-API-Key": key}, 0
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        async with session.get(f"{hub.url}/api/v1/openapi.json") as response:
            document = await response.json()
        for path, methods in document["paths"].items():
            for method in methods:
                url = hub.url + "/".join("7" if "{" in part else part for part in path.split("/"))
                body = None if method == "get" else {"model": "far", "prompt": "Hi", "query": "Hi"}
                async with session.request(method, url, json=body, headers=headers) as response:
                    said = (await response.read()).decode("utf-8", "replace")
                asked += 1
                assert MARK not in said + str(response.headers), path

    assert asked > 40
    assert MARK not in hub.log()


async def test_no_command_prints_a_secret(hub: HubProcess) -> None:
    """Those that show settings or what became of them, with a wrong Redis, a wrong database, a secret given twice, and a traceback."""
    folder = hub.data.parent
    right = hub.environment["HUBBUB_BUS__REDIS_URL"]
    commands: list[tuple[dict[str, str], list[str]]] = [
        ({}, ["doctor", "--json"]),
        ({}, ["models", "list", "--json"]),
        ({}, ["egress", "--json"]),
        ({}, ["keys", "list", "--json"]),
        ({}, ["index", "info", "--json"]),
        (
            {"HUBBUB_DATABASE_URL": f"postgresql://hub:{MARK}database@127.0.0.1:9/hub"},
            ["keys", "list", "--json"],
        ),
        (
            {"HUBBUB_DATABASE_URL": f"postgresql://hub:{MARK}database@127.0.0.1:nine/hub"},
            ["keys", "list", "--json"],
        ),
        (
            {"HUBBUB_DATABASE_URL": "", "HUBBUB_BUS__REDIS_URL": right.replace("-0001", "-wrong")},
            ["egress", "--json"],
        ),
        ({"HUBBUB_WEB__SITES": '["planted-twice"]'}, ["egress", "--json"]),
        (
            {"HUBBUB_WEB__SITES": "", "HUBBUB_BUS__REDIS_URL": f"redis://:{MARK}with/slash@h/0"},
            ["egress", "--json"],
        ),
    ]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COMMANDS, json.dumps(commands)),
        env=hub.environment,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        out, err = (text.decode() for text in await process.communicate())

    codes = [
        "doctor 1",
        "models 0",
        "egress 0",
        "keys 0",
        "index 0",
        "keys 1",
        "keys 2",
        "egress 1",
        "egress 2",
        "egress 2",
    ]
    assert [line.removeprefix("## ") for line in out.splitlines() if line.startswith("## ")] == codes, (
        out + err
    )
    assert "Incorrect API key provided: Bearer ***" in out
    assert err.rstrip().endswith("RuntimeError: ***")
    assert MARK not in out
    assert MARK not in err
