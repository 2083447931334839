"""Models that are asked themselves over the hub's own routes, and what becomes of requests nobody waits for."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
from redis.asyncio import Redis

from hub.bus.queue import MAX_BODY_BYTES
from hub.settings import ApiSettings
from tests.hub.api.model_engine import ModelEngine
from tests.hub.api.serving import Api, serving
from tests.servers.redis import RedisServer

WAIT_S = 30


async def ask(api: Api, path: str, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
    """POST and return status and answer."""
    async with api.session.post(f"{api.url}{path}", json=body, headers=headers) as response:
        return response.status, await response.json(content_type=None)


async def test_a_model_answers_with_what_it_cost(bare_api: Api, models: ModelEngine) -> None:
    """Text, name, tokens, seconds and time, as older clients read them, and the details beside."""
    key = await bare_api.new_key()
    body = {"model": "echo", "prompt": "one two three", "max_tokens": 2, "temperature": 0.5, "top_p": 0.9}

    status, answer = await ask(bare_api, "/api/v1/generate", body, key)

    assert status == 200
    assert (answer["response"], answer["model"], answer["tokens_used"]) == ("one two", "echo", 6)
    assert answer["processing_time"] > 0
    assert answer["timestamp"].endswith("Z")
    assert answer["usage"] == {
        "model": "echo",
        "prompt_tokens": 4,
        "answer_tokens": 2,
        "cached_tokens": 0,
        "finish": "length",
        "from_cache": False,
    }
    assert (answer["kind"], answer["sources"]) == ("answer", [])
    [options] = models.echo.options
    assert (options.max_tokens, options.temperature, options.top_p) == (2, 0.5, 0.9)


async def test_the_assistant_answers_where_no_model_is_named(bare_api: Api, models: ModelEngine) -> None:
    """Also by its name; messages are a conversation that the client keeps itself."""
    key = await bare_api.new_key()
    messages = [
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "Me."},
        {"role": "user", "content": "Where?"},
    ]

    answers = [
        await ask(bare_api, path, body, key)
        for path, body in (
            ("/generate", {"prompt": "Hi", "temperature": 0.7, "max_tokens": 50}),
            ("/chat", {"prompt": "Hi", "model": "hubbub"}),
            ("/api/v1/chat", {"messages": messages}),
        )
    ]

    assert [answer["response"] for _, answer in answers] == ["You said: Hi"] * 2 + ["You said: Where?"]
    assert {answer["model"] for _, answer in answers} == {"hubbub"}
    assert answers[0][1]["tokens_used"] == 10
    assert [turn.question for turn in models.assistant.recollections[2].turns] == ["Who?"]


async def test_a_session_with_a_model_goes_on(bare_api: Api, models: ModelEngine) -> None:
    """The model is given what was said before in this session, and nothing of others."""
    key = await bare_api.new_key()
    first = {"model": "echo", "prompt": "one", "session_id": "s"}

    await ask(bare_api, "/api/v1/chat", first, key)
    await ask(bare_api, "/api/v1/chat", first | {"prompt": "two"}, key)
    _, alone = await ask(bare_api, "/api/v1/chat", {"model": "echo", "prompt": "three"}, key)
    await ask(bare_api, "/chat", {"model": "echo", "prompt": "four", "session_id": alone["session_id"]}, key)

    texts = [[message.text for message in prompt] for prompt in models.echo.prompts]
    assert texts == [["one"], ["one", "one", "two"], ["three"], ["three", "three", "four"]]
    assert [message.generation and message.generation.with_history for message in models.seen] == [True] * 4


async def test_a_raw_prompt_has_no_template(bare_api: Api, models: ModelEngine) -> None:
    """It is continued as it stands, tabs and blanks included; only control characters are taken out."""
    key = await bare_api.new_key()
    body = {"model": "echo", "prompt": "\tdef f(x):\n  \x00\x1breturn", "raw": True}

    status, _ = await ask(bare_api, "/generate", body, key)

    [message] = models.seen
    assert status == 200
    assert message.generation is not None
    assert (message.generation.prompt, message.generation.messages) == ("\tdef f(x):\n  return", ())


async def test_errors_of_a_model_have_a_status_and_a_code(bare_api: Api, models: ModelEngine) -> None:
    """Whole and as a stream, where the status has gone by then."""
    key = await bare_api.new_key()
    tried: list[tuple[dict[str, Any], int, str]] = [
        ({"model": "gpt-9", "prompt": "x"}, 404, "model_not_found"),
        ({"model": "../../x", "prompt": "x"}, 404, "model_not_found"),
        ({"model": "echo", "prompt": "word " * 100}, 400, "context_length_exceeded"),
        ({"model": "stubborn", "prompt": "x", "json_schema": {}}, 400, "option_refused"),
    ]

    for body, status, code in tried:
        assert (await ask(bare_api, "/generate", body, key))[0] == status, code
        async with bare_api.session.post(
            f"{bare_api.url}/generate", json=body | {"stream": True}, headers=key
        ) as response:
            last = (await response.text()).strip().rpartition("event: ")[2]
        name, _, document = last.partition("\ndata: ")
        assert (name, orjson.loads(document)["code"]) == ("error", code)


async def test_a_stream_ends_with_what_it_cost(bare_api: Api, models: ModelEngine) -> None:
    """The final event holds the usage."""
    key = await bare_api.new_key()
    body = {"model": "echo", "prompt": "one two", "stream": True}

    async with bare_api.session.post(f"{bare_api.url}/generate", json=body, headers=key) as response:
        text = await response.text()

    final = orjson.loads(text.partition("event: final\ndata: ")[2])
    assert (final["response"], final["usage"]["answer_tokens"]) == ("one two", 2)
    assert "event: delta" in text


async def test_a_request_that_is_too_large_is_never_cut(bare_api: Api, models: ModelEngine) -> None:
    """413 names the limit; what is a little smaller goes through whole."""
    key = await bare_api.new_key()
    small, large = "x" * (MAX_BODY_BYTES - 2000), "x" * MAX_BODY_BYTES

    refused = await ask(bare_api, "/generate", {"model": "echo", "prompt": large}, key)
    taken = await ask(bare_api, "/generate", {"model": "echo", "prompt": small}, key)

    assert (refused[0], refused[1]["code"]) == (413, "prompt_too_large")
    assert str(MAX_BODY_BYTES) in refused[1]["detail"]
    assert taken[1]["response"] == small


async def test_a_client_that_leaves_frees_the_model(bare_api: Api, models: ModelEngine) -> None:
    """Whether it reads a stream or waits for the whole answer, here or by OpenAI's routes."""
    key = (await bare_api.new_key())["X-API-Key"]
    plain = {"model": "slow", "prompt": "one two"}
    chat = {"model": "slow", "messages": [{"role": "user", "content": "one two"}]}

    for path, body in (
        ("/generate", plain),
        ("/generate", plain | {"stream": True}),
        ("/v1/chat/completions", chat),
        ("/v1/chat/completions", chat | {"stream": True}),
    ):
        models.slow.has_begun.clear()
        models.slow.was_stopped.clear()
        writer = await _send(bare_api, path, body, key)
        async with asyncio.timeout(WAIT_S):
            await models.slow.has_begun.wait()
            writer.transport.abort()
            await models.slow.was_stopped.wait()

    async with asyncio.timeout(WAIT_S):
        while await bare_api.parts.bus.backlog():
            await asyncio.sleep(0.01)


async def test_a_request_with_a_name_is_answered_all_the_same(
    bare_api: Api, models: ModelEngine, redis: Redis
) -> None:
    """Who sends an Idempotency-Key comes back for the answer."""
    key = (await bare_api.new_key())["X-API-Key"]
    body = {"model": "slow", "prompt": "one two"}
    writer = await _send(bare_api, "/generate", body, key, "Idempotency-Key: again")
    async with asyncio.timeout(WAIT_S):
        await models.slow.has_begun.wait()
    writer.transport.abort()
    models.slow.may_go_on.set()

    headers = {"X-API-Key": key, "Idempotency-Key": "again"}
    async with asyncio.timeout(WAIT_S):
        while (answered := await ask(bare_api, "/generate", body, headers))[0] == 409:
            await asyncio.sleep(0.05)

    assert (answered[0], answered[1]["response"]) == (200, "one two")
    assert len(models.seen) == 1


async def test_the_idempotency_key_knows_every_option(bare_api: Api, models: ModelEngine) -> None:
    """The same name for another temperature is another request; how it is brought makes no difference."""
    headers = await bare_api.new_key() | {"Idempotency-Key": "once"}
    body = {"model": "echo", "prompt": "x"}
    chat = {"model": "echo", "messages": [{"role": "user", "content": "x"}]}

    first = await ask(bare_api, "/generate", body, headers)
    changed = await ask(bare_api, "/generate", body | {"temperature": 0.3}, headers)
    elsewhere = headers | {"Idempotency-Key": "twice"}
    done = [await ask(bare_api, "/v1/chat/completions", chat, elsewhere) for _ in range(2)]

    assert (first[0], changed[0], changed[1]["code"]) == (200, 422, "idempotency_key_reused")
    assert done[0][1]["id"] == done[1][1]["id"]
    assert len(models.seen) == 2


async def test_an_answer_nobody_could_get_is_not_computed(
    redis: Redis, redis_server: RedisServer, data: Path
) -> None:
    """When a request without a session has waited long enough its turn is cancelled, and the client is told so."""
    async with serving(redis_server.url, data, api=ApiSettings(port=0, reply_timeout_s=0.5)) as api:
        engine = ModelEngine(api)
        await engine.start()
        key = await api.new_key()
        chat = {"model": "slow", "messages": [{"role": "user", "content": "one two"}]}

        for path, body in (
            ("/generate", {"model": "slow", "prompt": "one two"}),
            ("/v1/chat/completions", chat),
        ):
            engine.slow.was_stopped.clear()
            status, answer = await ask(api, path, body, key)
            async with asyncio.timeout(WAIT_S):
                await engine.slow.was_stopped.wait()
            text = answer.get("detail") or answer["error"]["message"]
            assert (status, "was cancelled" in text) == (504, True)


def test_settings_bound_a_body() -> None:
    """What a body may hold is more than an entry of the bus, so that 413 names the right limit."""
    assert ApiSettings().max_body_bytes > MAX_BODY_BYTES


async def _send(api: Api, path: str, body: Any, key: str, *lines: str) -> asyncio.StreamWriter:
    payload = orjson.dumps(body)
    head = [
        *(f"POST {path} HTTP/1.1", "Host: x", f"X-API-Key: {key}", "Content-Type: application/json"),
        *(f"Content-Length: {len(payload)}", *lines),
    ]
    _, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + payload)
    await writer.drain()
    return writer


async def test_what_is_repeated_by_its_name_waits_for_a_busy_model(
    bare_api: Api, models: ModelEngine
) -> None:
    """A refusal would be its answer for a day; so it is given back until there is room."""
    key = await bare_api.new_key() | {"Idempotency-Key": "named-1"}
    asking = asyncio.create_task(
        ask(bare_api, "/api/v1/generate", {"model": "crowded", "prompt": "one two"}, key)
    )
    async with asyncio.timeout(WAIT_S):
        while not models.crowded.refused:
            await asyncio.sleep(0.01)
    models.crowded.is_crowded = False

    status, answer = await asking

    assert (status, answer["response"]) == (200, "one two")
    assert [message.is_refusable for message in models.seen] == [False, False]
