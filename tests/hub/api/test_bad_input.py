"""What bad requests get: a fixed answer, never a 500, never their own words back."""

import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from hub.settings import ApiSettings
from tests.hub.api.serving import Api, exchange, serving
from tests.servers.redis import RedisServer

SESSION_MAX = "a" * 65


@pytest.fixture
async def plain_api(redis: Redis, redis_server: RedisServer, data: Path) -> AsyncIterator[Api]:
    """A server without an engine, that waits a second for what is sent."""
    settings = ApiSettings(port=0, reply_timeout_s=0.2, read_timeout_s=1, max_body_bytes=100_000)
    async with serving(redis_server.url, data, api=settings) as running:
        yield running


BODIES: list[tuple[str, bytes, int, str]] = [
    ("byte order mark", b'\xef\xbb\xbf{"prompt":"x"}', 400, "invalid_json"),
    ("UTF-16", '{"prompt":"x"}'.encode("utf-16"), 400, "invalid_json"),
    ("invalid UTF-8", b'{"prompt":"\xff"}', 400, "invalid_json"),
    ("overlong NUL", b'{"prompt":"\xc0\x80"}', 400, "invalid_json"),
    ("empty", b"", 400, "invalid_json"),
    ("half", b'{"prompt":"x"', 400, "invalid_json"),
    ("two values", b'{"prompt":"x"} {}', 400, "invalid_json"),
    ("single quotes", b"{'prompt':'x'}", 400, "invalid_json"),
    ("raw control character", b'{"prompt":"a\nb"}', 400, "invalid_json"),
    ("deep array", b"[" * 100_000, 400, "invalid_json"),
    ("deep and closed", b'{"prompt":' + b"[" * 900 + b"]" * 900 + b"}", 400, "invalid_json"),
    ("deeper than 32", b'{"prompt":' + b"[" * 40 + b"]" * 40 + b"}", 400, "invalid_json"),
    ("giant int", b'{"prompt":' + b"1" * 5000 + b"}", 400, "invalid_json"),
    ("long int", b'{"prompt":' + b"1" * 30 + b"}", 400, "invalid_json"),
    ("NaN", b'{"prompt":NaN}', 400, "invalid_json"),
    ("Infinity", b'{"prompt":-Infinity}', 400, "invalid_json"),
    ("too large", b'{"prompt":1e999}', 400, "invalid_json"),
    ("duplicate", b'{"prompt":"a","prompt":"b"}', 400, "invalid_json"),
    ("duplicate, escaped", b'{"prompt":"a","\\u0070rompt":"b"}', 400, "invalid_json"),
    ("no object", b"[]", 422, "invalid_fields"),
    ("null", b"null", 422, "invalid_fields"),
    ("number for text", b'{"prompt":5}', 422, "invalid_fields"),
    ("null for text", b'{"prompt":null}', 422, "invalid_fields"),
    ("true for text", b'{"prompt":true}', 422, "invalid_fields"),
    ("text for boolean", b'{"prompt":"x","stream":"true"}', 422, "invalid_fields"),
    ("1 for boolean", b'{"prompt":"x","stream":1}', 422, "invalid_fields"),
    ("number for id", b'{"prompt":"x","session_id":5}', 422, "invalid_fields"),
    ("missing", b"{}", 422, "invalid_fields"),
    ("unknown", b'{"prompt":"x","colour":"blue"}', 422, "invalid_fields"),
    ("mass assignment", b'{"prompt":"x","tier":"admin","id":1}', 422, "invalid_fields"),
    ("role", b'{"prompt":"x","role":"system"}', 422, "invalid_fields"),
    ("empty prompt", b'{"prompt":""}', 422, "invalid_fields"),
    ("prompt of blanks", b'{"prompt":" \\n\\u200b\\u0000 "}', 422, "invalid_fields"),
    ("long prompt", orjson.dumps({"prompt": "x" * 8001}), 422, "invalid_fields"),
    ("prompt that grows", orjson.dumps({"prompt": "\U0001d160" * 8000}), 422, "invalid_fields"),
    ("lone surrogate", b'{"prompt":"\\ud800"}', 422, "invalid_fields"),
    ("colon", b'{"prompt":"x","session_id":"a:b"}', 400, "invalid_id"),
    ("braces", b'{"prompt":"x","session_id":"{0}"}', 400, "invalid_id"),
    ("star", b'{"prompt":"x","session_id":"*"}', 400, "invalid_id"),
    ("path", b'{"prompt":"x","session_id":"../x"}', 400, "invalid_id"),
    ("SQL", b'{"prompt":"x","session_id":"1 OR 1=1"}', 400, "invalid_id"),
    ("emoji", '{"prompt":"x","session_id":"😀"}'.encode(), 400, "invalid_id"),
    ("NUL", b'{"prompt":"x","session_id":"a\\u0000"}', 400, "invalid_id"),
    ("newline", b'{"prompt":"x","session_id":"a\\n"}', 400, "invalid_id"),
    ("too long", orjson.dumps({"prompt": "x", "session_id": SESSION_MAX}), 400, "invalid_id"),
    ("empty", b'{"prompt":"x","session_id":""}', 400, "invalid_id"),
]


async def test_bodies_are_read_strictly(plain_api: Api) -> None:
    """Each body gets its status and code, and no answer repeats what was sent."""
    headers = await plain_api.new_key() | {"Content-Type": "application/json"}

    for name, body, status, code in BODIES:
        async with plain_api.session.post(f"{plain_api.url}/chat", data=body, headers=headers) as response:
            problem = await response.json()

        assert (response.status, problem["code"]) == (status, code), name
        assert response.content_type == "application/problem+json", name
        assert problem["request_id"] == response.headers["X-Request-ID"], name
    assert await plain_api.parts.bus.backlog() == 0


async def test_wrong_fields_are_named(plain_api: Api) -> None:
    """The path of each wrong field is told; names that are no names are not repeated."""
    headers = await plain_api.new_key()
    body = {"prompt": 5, "session_id": None, "tier": "admin", "<script>": 1}

    async with plain_api.session.post(f"{plain_api.url}/chat", json=body, headers=headers) as response:
        problem = await response.json()

    assert [error["field"] for error in problem["errors"]] == ["prompt", "tier", "?"]
    assert "script" not in await response.text()


HEADERS: list[tuple[str, dict[str, str], bytes, int]] = [
    ("none", {"Content-Type": ""}, b'{"prompt":"x"}', 415),
    ("xml", {"Content-Type": "application/xml"}, b"<a/>", 415),
    ("multipart", {"Content-Type": "multipart/form-data; boundary=x"}, b"--x--", 415),
    ("text", {"Content-Type": "text/plain"}, b'{"prompt":"x"}', 415),
    ("utf-16", {"Content-Type": "application/json; charset=utf-16"}, b'{"prompt":"x"}', 415),
    ("bogus", {"Content-Type": "application/json; charset=bogus"}, b'{"prompt":"x"}', 415),
    (
        "gzip bomb",
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        gzip.compress(b'{"prompt":"' + b"x" * 50_000_000 + b'"}'),
        415,
    ),
    ("empty", {"Content-Type": "application/json", "Idempotency-Key": ""}, b'{"prompt":"x"}', 400),
    ("long", {"Content-Type": "application/json", "Idempotency-Key": "k" * 1024}, b'{"prompt":"x"}', 400),
    ("blank", {"Content-Type": "application/json", "Idempotency-Key": "a b"}, b'{"prompt":"x"}', 400),
    ("long", {"Content-Type": "application/json"}, b" " * 100_001, 413),
]


async def test_headers_are_read_strictly(plain_api: Api) -> None:
    """Bodies that are not plain JSON in UTF-8 are not read at all."""
    key = await plain_api.new_key()

    for name, headers, body, status in HEADERS:
        async with plain_api.session.post(
            f"{plain_api.url}/chat", data=body, headers=key | headers
        ) as response:
            assert response.status == status, name
            assert response.content_type == "application/problem+json", name


async def test_a_large_body_is_refused_before_it_is_sent(plain_api: Api) -> None:
    """413 comes for the announcement alone, before the key is looked at; chunks are counted as they come."""
    key = (await plain_api.new_key())["X-API-Key"]
    announced = b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"
    head = f"POST /chat HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
    chunks = b"20000\r\n" + b" " * 0x20000 + b"\r\n"
    chunked = head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks * 10

    answers = [await exchange(plain_api.port, request) for request in (announced, chunked)]

    assert [answer.split(b" ")[1] for answer in answers] == [b"413", b"413"]


QUERIES: list[tuple[str, int]] = [
    ("/api/v1/history", 422),
    ("/api/v1/history?session_id=", 400),
    ("/api/v1/history?session_id=a:b", 400),
    ("/api/v1/history?session_id=%2e%2e%2fx", 400),
    ("/api/v1/history?session_id=%00", 400),
    ("/api/v1/history?session_id=%ff", 400),
    (f"/api/v1/history?session_id={SESSION_MAX}", 400),
    ("/api/v1/history?session_id=a&session_id=b", 400),
    ("/api/v1/history?session_id=a&last=0", 422),
    ("/api/v1/history?session_id=a&last=201", 422),
    ("/api/v1/history?session_id=a&last=-1", 422),
    ("/api/v1/history?session_id=a&last=%2B2", 422),
    ("/api/v1/history?session_id=a&last=1.0", 422),
    ("/api/v1/history?session_id=a&last=%D9%A1", 422),
    ("/api/v1/history?session_id=a&sort=password", 400),
    ("/api/v1/history?session_id=a", 200),
    ("/search", 422),
    ("/search?q=", 422),
    ("/search?q=%20%e2%80%8b", 422),
    ("/search?q=" + "x" * 1001, 422),
    ("/search?q=x&k=0", 422),
    ("/search?q=x&k=21", 422),
    ("/search?q=x&k=999999999999999999999", 422),
    ("/search?q=x&k=two", 422),
    ("/search?q=x&k=1&k=2", 400),
    ("/search?q=x&filter=a", 400),
    ("/searchs?q=x", 404),
    ("/search/?q=x", 404),
    ("//search?q=x", 404),
    ("/api/v1/../v1/searchs", 404),
    ("/api/v2/search?q=x", 404),
    ("/%2e%2e/etc/passwd", 404),
    ("/chat%00", 404),
    ("/" + "x" * 300, 404),
    ("/😀", 400),
    ("/%F0%9F%98%80", 404),
    ("/chat", 405),
    ("/generate-key", 405),
]


async def test_queries_are_read_strictly(plain_api: Api) -> None:
    """Each path and query gets its status."""
    headers = await plain_api.new_key()

    for path, status in QUERIES:
        raw = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {headers['X-API-Key']}\r\nConnection: close\r\n\r\n"
        answer = await exchange(plain_api.port, raw.encode())

        assert answer.split(b" ")[1] == str(status).encode(), path


async def test_methods_without_a_meaning_are_refused(plain_api: Api) -> None:
    """HEAD, OPTIONS, TRACE and others get 405, with or without a key, and open no door to CORS."""
    key = (await plain_api.new_key())["X-API-Key"]
    for method in ("HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PATCH"):
        for path in ("/chat", "/search", "/api/v1/history", "/health", "/metrics", "/generate-key"):
            raw = (
                f"{method} {path} HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\n"
                f"Access-Control-Request-Method: POST\r\nX-API-Key: {key}\r\nConnection: close\r\n\r\n"
            )
            answer = await exchange(plain_api.port, raw.encode())

            assert answer.split(b" ")[1] == b"405", (method, path)
            assert b"access-control-allow" not in answer.lower()


HEAD = b"POST /chat HTTP/1.1\r\nHost: x\r\n"
RAW: list[tuple[str, bytes]] = [
    ("CL and TE", HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("two CL", HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    ("negative CL", HEAD + b"Content-Length: -1\r\n\r\n"),
    ("signed CL", HEAD + b"Content-Length: +2\r\n\r\n{}"),
    ("hex chunk", HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
    ("bare LF", b"POST /chat HTTP/1.1\nHost: x\nContent-Length: 2\n\n{}"),
    ("bare CR", HEAD + b"X-A: a\rb\r\n\r\n"),
    ("obs-fold", HEAD + b"X-A: 1\r\n folded\r\n\r\n"),
    ("NUL in header", HEAD + b"X-A: a\x00b\r\n\r\n"),
    ("space before colon", HEAD + b"X-A : 1\r\n\r\n"),
    ("9 KiB header", HEAD + b"X-A: " + b"a" * 9216 + b"\r\n\r\n"),
    ("200 headers", HEAD + b"".join(b"X-%d: 1\r\n" % n for n in range(200)) + b"\r\n"),
    ("made-up method", b"BREW /chat HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    ("HTTP/9.9", b"GET / HTTP/9.9\r\n\r\n"),
    ("two hosts", b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\nX: \x01\r\n\r\n"),
]


async def test_requests_that_are_no_http_are_refused(plain_api: Api) -> None:
    """Anything that two parsers could read in two ways ends with 400 and the connection."""
    for name, raw in RAW:
        answer = await exchange(plain_api.port, raw)

        assert answer.split(b" ")[1] == b"400", (name, answer[:200])
        assert b"application/problem+json" in answer, name
        assert b"aiohttp" not in answer.lower(), name


async def test_slow_senders_are_let_go(plain_api: Api) -> None:
    """Half a head, half a body, and half a second request all end with 408 in time."""
    key = (await plain_api.new_key())["X-API-Key"]
    head = f"POST /chat HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
    half_head = head.encode()
    half_body = half_head + b'Content-Length: 50\r\n\r\n{"prompt":'

    answers = await asyncio.gather(
        *(exchange(plain_api.port, raw) for raw in (half_head, half_body, b"")),
        _second_half(plain_api.port, half_head),
    )

    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 408", b"HTTP/1.1 408", b"", b"HTTP/1.1 408"]


async def _second_half(port: int, half_head: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"}")
    writer.write(half_head)
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    return answer


async def test_a_slow_drip_is_let_go(plain_api: Api) -> None:
    """A byte now and then does not move the deadline."""
    reader, writer = await asyncio.open_connection("127.0.0.1", plain_api.port)
    writer.write(HEAD)

    async def drip() -> None:
        while True:
            writer.write(b"X-A: 1\r\n")
            await asyncio.sleep(0.1)

    dripping = asyncio.create_task(drip())
    async with asyncio.timeout(20):
        answer = await reader.readline()  # what drips on after it resets the connection
    dripping.cancel()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 408")


async def test_an_unread_body_is_not_the_next_request(plain_api: Api) -> None:
    """What follows a refused head is thrown away with its connection."""
    smuggled = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    raw = HEAD + b"Content-Length: %d\r\n\r\n" % len(smuggled) + smuggled

    answer = await exchange(plain_api.port, raw)

    assert answer.startswith(b"HTTP/1.1 401")
    assert answer.count(b"HTTP/1.1") == 1


async def test_keys_are_refused_alike(plain_api: Api) -> None:
    """Absent, wrong, revoked, hashed, doubled: the same 401; a key in the query is never looked at."""
    good = (await plain_api.new_key())["X-API-Key"]
    revoked = await plain_api.new_key()
    await plain_api.parts.keys.revoke(revoked["X-API-Key"].split("_")[2])
    digest = hashlib.sha256(good.encode()).hexdigest()
    other = (await plain_api.new_key())["X-API-Key"]
    tried: list[tuple[str, dict[str, str]]] = [
        ("", {}),
        (f"&api_key={good}", {}),
        (f"&X-API-Key={good}", {}),
        ("", {"X-API-Key": ""}),
        ("", {"X-API-Key": good[:-1]}),
        ("", {"X-API-Key": digest}),
        ("", {"X-API-Key": "x" * 5000}),
        ("", {"X-API-Key": "\x80é"}),
        ("", revoked),
        ("", {"Authorization": f"Basic {good}"}),
        ("", {"Authorization": good}),
        ("", {"Authorization": f"Bearer {good}", "X-API-Key": other}),
    ]

    bodies = set()
    with capture_logs() as logs:
        for query, headers in tried:
            async with plain_api.session.get(
                f"{plain_api.url}/search?q=x{query}", headers=headers
            ) as response:
                problem = await response.json()
            assert response.status == 401, headers
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
            bodies.add(orjson.dumps(problem | {"request_id": ""}))

    assert len(bodies) == 1
    assert good not in repr(logs)
    assert digest not in repr(logs)


async def test_guessing_keys_is_slowed_down(plain_api: Api) -> None:
    """After 20 wrong keys in a minute an address gets 429; its right key still opens."""
    good = await plain_api.new_key()
    wrong = {"X-API-Key": "cc_live_" + "0" * 12 + "_" + "x" * 43}

    statuses = []
    for number in range(22):
        # A made-up forwarding header changes nothing.
        headers = wrong | {"X-Forwarded-For": f"10.0.0.{number}"}
        async with plain_api.session.get(f"{plain_api.url}/api/v1/history", headers=headers) as response:
            statuses.append(response.status)
    async with plain_api.session.get(
        f"{plain_api.url}/api/v1/history?session_id=s", headers=good
    ) as response:
        opened = response.status

    assert statuses == [401] * 20 + [429] * 2
    assert opened == 200


async def test_the_order_of_checks_gives_nothing_away(plain_api: Api) -> None:
    """Without a key nobody learns whether a body or a query is right."""
    answers = []
    for method, path in (("POST", "/chat"), ("GET", "/search?k=0"), ("GET", "/api/v1/history?x=1")):
        async with plain_api.session.request(method, plain_api.url + path, data=b"{") as response:
            answers.append(response.status)
    async with plain_api.session.get(f"{plain_api.url}/nowhere") as response:
        answers.append(response.status)

    assert answers == [401, 401, 401, 404]


async def test_a_client_that_leaves_does_no_harm(plain_api: Api) -> None:
    """Leaving in the middle of a stream ends it without an error in the log."""
    key = (await plain_api.new_key())["X-API-Key"]
    body = b'{"prompt":"x","stream":true}'
    reader, writer = await asyncio.open_connection("127.0.0.1", plain_api.port)
    head = f"POST /chat HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"

    with capture_logs() as logs:
        writer.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await reader.readuntil(b"event: turn")
        writer.transport.abort()
        async with plain_api.session.get(f"{plain_api.url}/health") as response:
            status = response.status

    assert status == 200
    assert not [entry for entry in logs if entry["log_level"] == "error"]
