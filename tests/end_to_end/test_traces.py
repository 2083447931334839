"""Where a message went and where its time went, on every channel, without a word of what was said."""

import asyncio
import email.utils
import json
import re
import secrets
import smtplib
from collections.abc import AsyncIterator
from email.message import EmailMessage
from typing import Any

import aiohttp
import psutil
import pytest
import pytest_asyncio

from tests.emulators.bot_api import BotApi
from tests.emulators.collector import Collector, Recorded
from tests.end_to_end.people import HUB, JANE
from tests.hub_process import HubProcess
from tests.servers.accounts import PASSWORD
from tests.servers.dovecot import Dovecot
from tests.servers.smtp import SmtpServer, account_at

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

CHANNELS = ("api", "telegram", "email", "web")
CALLER_TRACE, CALLER_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
COLLECTOR_KEY, WEBHOOK_SECRET = "collector-key-" + "k" * 20, "webhook-" + "s" * 20
REFUSED = "zimtquokkarefused"
WRONG_KEY, WRONG_TOKEN = "hub_own_wrongkey_" + "w" * 30, "wrongtoken" + "t" * 30


def canary(channel: str) -> str:
    """Give a word that is said on one channel alone."""
    return f"zimtquokka{channel}"


def question(channel: str) -> str:
    """Ask what the documents tell, with a word that no log may hold."""
    return f"How do I add documents, asks {canary(channel)}?"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def collector() -> AsyncIterator[Collector]:
    """Where spans go."""
    async with Collector() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(
    tmp_path_factory: pytest.TempPathFactory,
    telegram: BotApi,
    dovecot: Dovecot,
    smtp: SmtpServer,
    collector: Collector,
) -> AsyncIterator[HubProcess]:
    """One hub with all channels connected, that logs as much as it can."""
    hub = HubProcess(
        tmp_path_factory.mktemp("hub") / "data",
        {
            "HUBBUB_TRACES__ENDPOINT": collector.endpoint,
            "HUBBUB_TRACES__HEADERS": f"x-key={COLLECTOR_KEY}",
            "HUBBUB_LOG__LEVEL": "debug",
            "HUBBUB_LOG__FORMAT": "json",
            "HUBBUB_LOG__INTERACTIONS": "true",
            "HUBBUB_TELEGRAM__TOKEN": telegram.token,
            "HUBBUB_TELEGRAM__API_BASE": telegram.url,
            "HUBBUB_TELEGRAM__WEBHOOK_SECRET": WEBHOOK_SECRET,
            "HUBBUB_EMAIL__ACCOUNTS": json.dumps([account_at(HUB, dovecot, smtp)]),
            "HUBBUB_EMAIL__POLL_S": "1",
            "HUBBUB_BUS__LEASE_S": "2",
        },
    )
    hub.settings["HUBBUB_API__PUBLIC_URL"] = hub.url
    async with hub:
        yield hub


async def visit(hub: HubProcess, text: str) -> None:
    """Ask as a visitor of the page and wait for the answer."""
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(f"{hub.url}/ws/chat", headers={"Origin": hub.url}) as socket,
    ):
        await socket.send_json({"t": "auth", "token": ""})
        await socket.send_json({"t": "message", "id": secrets.token_hex(8), "text": text})
        async with asyncio.timeout(60):
            while (await socket.receive_json())["t"] != "final":
                pass


def write_mail(smtp: SmtpServer, text: str) -> None:
    """Send a mail to the hub."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = f"Jane <{JANE}>", HUB, f"About {canary('email')}"
    mail["Message-ID"], mail["Date"] = email.utils.make_msgid(domain="example.net"), email.utils.formatdate()
    mail.set_content(text)
    with smtplib.SMTP(smtp.host, smtp.port) as client:
        client.login(JANE, PASSWORD)
        client.send_message(mail)


def named(spans: list[Recorded], name: str, parent: str) -> list[Recorded]:
    """Give the spans of a name below a span."""
    return [span for span in spans if (span.name, span.parent) == (name, parent)]


def way(spans: list[Recorded]) -> dict[str, Recorded]:
    """Follow one message from its intake to its sending; every step must hang below the right one."""
    (receive,) = [span for span in spans if span.name == "receive" and span.attributes["status"] == "OK"]
    turn = max(named(spans, "turn", receive.id), key=lambda span: span.attributes["attempt"])
    (deliver,) = named(spans, "deliver", turn.id)
    steps = {"receive": receive, "turn": turn, "deliver": deliver}
    for name, above in (("recall", turn), ("commit", turn), ("send", deliver), ("wait", turn)):
        (steps[f"{above.name}/{name}"],) = named(spans, name, above.id)
    assert named(spans, "wait", receive.id)
    assert len(named(spans, "commit", deliver.id)) == 1
    for span in spans:
        assert span.began_ns <= span.ended_ns
    assert receive.began_ns <= turn.began_ns <= deliver.began_ns <= steps["deliver/send"].ended_ns
    return steps


async def trace_of(
    collector: Collector, connector: str, known: frozenset[str] = frozenset()
) -> list[Recorded]:
    """Wait for a trace of a channel to be whole, and give its spans."""

    def traces(spans: list[Recorded]) -> set[str]:
        ended = [
            span for span in spans if span.name == "deliver" and span.attributes["connector"] == connector
        ]
        return {
            span.trace
            for span in ended
            if span.trace not in known
            and any(one.id == span.parent for one in spans)
            and any(one.name == "receive" and one.trace == span.trace for one in spans)
        }

    spans = await collector.until(lambda spans: bool(traces(spans)))
    (trace,) = traces(spans)
    return [span for span in spans if span.trace == trace]


@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_message_has_one_trace_on_every_channel(
    hub: HubProcess, telegram: BotApi, smtp: SmtpServer, collector: Collector, channel: str
) -> None:
    """From its intake (webhook, mailbox, widget, API) through the engine's process to the sending."""
    text = question(channel)
    if channel == "api":
        status, _ = await hub.post("/chat", {"prompt": text, "session_id": "s"})
        assert status == 200
    elif channel == "telegram":
        telegram.say(7_001, text)
        await telegram.answered(7_001, timeout_s=60)
        assert telegram.deliveries
    elif channel == "email":
        await asyncio.to_thread(write_mail, smtp, text)
    else:
        await visit(hub, text)

    spans = await trace_of(collector, channel)
    steps = way(spans)

    assert steps["receive"].parent == ""
    assert named(spans, "retrieve", steps["turn"].id)
    assert {span.roles for span in spans if span.name in ("receive", "deliver", "send")} == {
        "api,web,telegram,email"
    }
    assert {span.roles for span in spans if span.name in ("turn", "recall", "retrieve")} == {"engine"}
    assert steps["turn"].attributes["attempt"] == 1
    assert steps["deliver"].attributes["state"] == "placed"


async def test_a_caller_goes_on_with_its_own_trace_across_a_killed_engine(
    hub: HubProcess, collector: Collector
) -> None:
    """The engine is killed in the middle of a turn: the second attempt hangs below the same intake."""
    body = {"model": "smollm2-135m", "prompt": canary("api"), "max_tokens": 8}
    headers = {"X-API-Key": hub.key, "traceparent": f"00-{CALLER_TRACE}-{CALLER_SPAN}-01"}
    engine = psutil.Process(
        int(await told(hub, r'hubbub_process_up\{process="[^"]*-(\d+)-\w+",roles="engine"\} 1.0'))
    )
    models = engine.children()
    for model in models:
        # What is asked of it now is not answered any more.
        model.suspend()
    async with aiohttp.ClientSession() as client:
        asking = asyncio.create_task(client.post(f"{hub.url}/generate", json=body, headers=headers))
        await told(hub, rf'(hubbub_leases_held\{{process="[^"]*-{engine.pid}-\w+",queue="inbound"\}} 1.0)')
        for process in (engine, *models):
            process.kill()
        async with asyncio.timeout(90):
            assert (await asking).status == 200

    await collector.until(
        lambda spans: {"turn", "deliver"} <= {span.name for span in spans if span.trace == CALLER_TRACE}, 150
    )
    spans = [span for span in collector.spans if span.trace == CALLER_TRACE]
    steps = way(spans)

    assert steps["receive"].parent == CALLER_SPAN
    assert steps["turn"].attributes["attempt"] == 2
    (generate,) = named(spans, "generate", steps["turn"].id)
    assert generate.attributes["model"] == "smollm2-135m"
    assert 0 < generate.attributes["first_token_ms"] <= (generate.ended_ns - generate.began_ns) / 1e6


async def told(hub: HubProcess, pattern: str) -> str:
    """Wait until the metrics tell something; gives the part in brackets."""
    async with aiohttp.ClientSession() as client, asyncio.timeout(30):
        while True:
            async with client.get(f"{hub.url}/metrics") as answer:
                if found := re.search(pattern, await answer.text()):
                    return found[1]
            await asyncio.sleep(0.1)


async def test_what_is_refused_is_taken_for_what_it_is(hub: HubProcess, telegram: BotApi) -> None:
    """Broken requests, updates and frames; that no log quotes them is looked at below."""
    bad = {"prompt": [REFUSED], "session_id": "s"}
    statuses = [
        (await hub.post("/chat", bad))[0],
        (await hub.post("/chat", {"prompt": "x"}, key=WRONG_KEY))[0],
        (await hub.get("/search", q=REFUSED, k=REFUSED))[0],
        (await hub.get(f"/{REFUSED}"))[0],
    ]
    assert statuses == [422, 401, 422, 404]
    update = {"update_id": 77, "message": {"message_id": REFUSED, "text": REFUSED}}
    await telegram.post_update(json.dumps(update).encode())
    await telegram.post_update(f"{{{REFUSED}".encode())
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(f"{hub.url}/ws/chat", headers={"Origin": hub.url}) as socket,
    ):
        await socket.send_str(f'{{"t": "auth", "token": "{WRONG_TOKEN}"}}')
        await socket.send_str(f'{{"t": "message", "id": "{REFUSED}", "text": ["{REFUSED}"]')
        async with asyncio.timeout(20):
            frame = await socket.receive()
            while frame.type is aiohttp.WSMsgType.TEXT and frame.json()["t"] != "err":
                frame = await socket.receive()


async def test_one_line_tells_where_the_time_of_each_message_went(
    hub: HubProcess, collector: Collector
) -> None:
    """Its parts add up to the whole, and it names the trace."""
    done = [line for line in lines(hub) if line.get("event") == "message_done"]

    assert sorted(line["connector"] for line in done) == sorted([*CHANNELS, "api"])
    for line in done:
        assert line["outcome"] == "placed"
        parts = sum(line[name] for name in ("queue_ms", "turn_ms", "wait_ms", "send_ms", "commit_ms"))
        # Clocks of the two processes, and what lies between the steps; nothing large is missing.
        assert line["total_ms"] * 0.5 - 50 <= parts <= line["total_ms"] * 1.1 + 50, line
        steps = sum(line[name] for name in ("recall_ms", "retrieve_ms", "generate_ms", "check_ms"))
        assert 0 < steps <= line["turn_ms"] + 1
        spans = [span for span in collector.spans if span.trace == line["trace"]]
        assert line["turn"] in {span.attributes.get("turn") for span in spans if span.name == "deliver"}
    killed = next(line for line in done if line["trace"] == CALLER_TRACE)
    assert (killed["attempts"], killed["model"]) == (2, "smollm2-135m")
    assert killed["answer_tokens"] > 0


def lines(hub: HubProcess) -> list[dict[str, Any]]:
    """Read the log of all its processes."""
    return [json.loads(line) for line in hub.log().splitlines() if line.startswith("{")]


async def test_no_log_trace_or_metric_holds_a_text_or_a_secret(
    hub: HubProcess, telegram: BotApi, collector: Collector
) -> None:
    """What was planted on every channel stands in the interaction log alone, which was switched on for it."""
    said = await asyncio.to_thread((hub.data / "log.jsonl").read_text, "utf-8")
    assert all(canary(channel) in said for channel in CHANNELS)
    async with aiohttp.ClientSession() as client, client.get(f"{hub.url}/metrics") as answer:
        metrics = await answer.text()
    redis_log = await asyncio.to_thread((hub.data / "redis" / "redis.log").read_text, "utf-8")
    places = {
        "log": hub.log(),
        "redis.log": redis_log,
        "traces": b"".join(collector.bodies).decode("utf-8", "replace"),
        "metrics": metrics,
    }

    planted = [*(canary(channel) for channel in CHANNELS), "zimtquokka", JANE]
    # Their sources are public: what the assistant said must not be there either.
    planted += re.findall(r"`(hubbub ingest [^`]+)`", said)[:3]
    planted += [
        WRONG_KEY,
        WRONG_TOKEN,
        telegram.token,
        telegram.token.partition(":")[2],
        hub.key,
        COLLECTOR_KEY,
        WEBHOOK_SECRET,
    ]
    for place, text in places.items():
        assert len(text) > 500, place
        assert [word for word in planted if word in text] == [], place
    assert any("engine" in span.roles for span in collector.spans)
    assert collector.headers[0]["x-key"] == COLLECTOR_KEY
