"""Chat and history over HTTP."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
from redis.asyncio import Redis

from hub.messages import conversation_id
from hub.settings import ApiSettings, BusSettings, KeySettings, TierSettings
from tests.hub.api.serving import Api, serving
from tests.servers.redis import RedisServer


async def test_a_prompt_is_answered(api: Api) -> None:
    """The reply carries its text, its sources and the session to go on with."""
    headers = await api.new_key()

    async with api.session.post(
        f"{api.url}/api/v1/chat", json={"prompt": "Hello"}, headers=headers
    ) as response:
        answer = await response.json()

    assert response.status == 200
    assert answer["response"] == "You said: Hello"
    assert answer["sources"][0]["location"] == "docs/guide.md"
    assert len(answer["session_id"]) >= 20
    assert answer["kind"] == "answer"


async def test_the_short_form_keeps_its_session(api: Api) -> None:
    """POST /chat with `session_id` publishes into that session of this key."""
    headers = await api.new_key()

    async with api.session.post(
        f"{api.url}/chat", json={"prompt": "Hi", "session_id": "s-1"}, headers=headers
    ) as response:
        answer = await response.json()

    assert answer["session_id"] == "s-1"
    message = api.engine.seen[0]
    key_id = headers["X-API-Key"].split("_")[2]
    assert message.conversation == conversation_id("api", key_id, "s-1")
    assert (message.address.connector, message.address.account, message.address.chat) == (
        "api",
        key_id,
        "s-1",
    )


async def test_generate_answers_a_prompt_on_its_own(api: Api) -> None:
    """POST /generate goes the way of a chat, each time in a session nobody else knows."""
    headers = await api.new_key()

    answers = []
    for _ in range(2):
        async with api.session.post(
            f"{api.url}/generate", json={"prompt": "Hello"}, headers=headers
        ) as response:
            answers.append(await response.json())
            assert response.status == 200
            assert "RateLimit" in response.headers

    assert [answer["response"] for answer in answers] == ["You said: Hello"] * 2
    assert answers[0]["session_id"] != answers[1]["session_id"]
    assert len({message.conversation for message in api.engine.seen}) == 2


async def test_generate_streams_and_is_repeated_safely(api: Api) -> None:
    """Server-sent events and Idempotency-Key work as they do for POST /chat."""
    headers = await api.new_key() | {"Idempotency-Key": "once"}

    texts = []
    for stream in (False, True):
        async with api.session.post(
            f"{api.url}/generate", json={"prompt": "Hello", "stream": stream}, headers=headers
        ) as response:
            texts.append(await response.text())

    assert "event: final" in texts[1]
    assert orjson.loads(texts[0])["turn"] in texts[1]
    assert len(api.engine.seen) == 1


async def test_generate_is_as_strict_as_chat(api: Api) -> None:
    """No key, no text and what is made up are refused, by the short form and the long one."""
    key = await api.new_key()
    tried: list[tuple[dict[str, object], dict[str, str]]] = [
        ({"prompt": "Hello"}, {}),
        ({"prompt": "Hello", "session_id": "a:b"}, key),
        ({"prompt": " "}, key),
        ({"prompt": "Hello", "tier": "admin"}, key),
    ]

    statuses = []
    for path in ("/generate", "/api/v1/generate"):
        for body, headers in tried:
            async with api.session.post(f"{api.url}{path}", json=body, headers=headers) as response:
                statuses.append(response.status)

    assert statuses == [401, 400, 422, 422] * 2
    assert not api.engine.seen


async def test_generate_goes_on_in_a_session_that_is_named(api: Api) -> None:
    """With `session_id` it is a message of that session; without, its turn is kept for an hour only."""
    headers = await api.new_key()

    for body in ({"prompt": "Hello", "session_id": "s"}, {"prompt": "Hello"}):
        async with api.session.post(f"{api.url}/api/v1/generate", json=body, headers=headers) as response:
            assert response.status == 200

    named, alone = api.engine.seen
    assert (named.address.chat, named.kept_s) == ("s", 0)
    assert alone.kept_s == 3600


async def test_history_shows_the_own_session_only(api: Api) -> None:
    """A session belongs to its key: another key that names it sees nothing."""
    mine, other = await api.new_key(), await api.new_key()
    for prompt in ("one", "two"):
        await _ask(api, mine, {"prompt": prompt, "session_id": "s"})

    seen = [await _history(api, headers, "s") for headers in (mine, other)]

    assert [turn["question"] for turn in seen[0]["turns"]] == ["one", "two"]
    assert seen[0]["turns"][0]["answer"] == "You said: one"
    assert seen[1]["turns"] == []


async def test_a_repeated_request_gets_the_same_answer(api: Api) -> None:
    """With an Idempotency-Key the message is stored once, also when its session was made up by the hub."""
    headers = await api.new_key() | {"Idempotency-Key": "order-66"}

    first = await _ask(api, headers, {"prompt": "Hello"})
    second = await _ask(api, headers, {"prompt": "Hello"})

    assert first[0] == second[0] == 200
    assert first[1] == second[1]
    assert len(api.engine.seen) == 1


async def test_an_idempotency_key_holds_one_request(api: Api) -> None:
    """Another body with the same key is refused; another API key may use the same word."""
    headers = await api.new_key() | {"Idempotency-Key": "order-66"}
    other = await api.new_key() | {"Idempotency-Key": "order-66"}
    await _ask(api, headers, {"prompt": "Hello"})

    changed = await _ask(api, headers, {"prompt": "Goodbye"})
    elsewhere = await _ask(api, other, {"prompt": "Goodbye"})

    assert (changed[0], changed[1]["code"]) == (422, "idempotency_key_reused")
    assert elsewhere[0] == 200


async def test_a_repetition_while_the_first_runs_is_told_to_wait(api: Api) -> None:
    """409 while it is being answered, the answer afterwards."""
    headers = await api.new_key() | {"Idempotency-Key": "k"}
    api.engine.gate.clear()
    first = asyncio.create_task(_ask(api, headers, {"prompt": "Hello"}))
    await _until(lambda: bool(api.engine.seen))

    early = await _ask(api, headers, {"prompt": "Hello"})
    api.engine.gate.set()
    answered = await first
    later = await _ask(api, headers, {"prompt": "Hello"})

    assert (early[0], early[1]["code"]) == (409, "in_progress")
    assert answered[0] == 200
    assert later == answered


async def test_an_answer_whose_news_was_lost_is_found(api: Api) -> None:
    """Nobody announces the reply; the history has it all the same."""
    api.engine.delivers = False
    headers = await api.new_key()

    status, answer = await _ask(api, headers, {"prompt": "Hello"})

    assert (status, answer["response"]) == (200, "You said: Hello")


async def test_a_late_answer_is_not_lost(redis: Redis, redis_server: RedisServer, data: Path) -> None:
    """When waiting runs out the client is told so, and finds the answer in the history."""
    settings = ApiSettings(port=0, reply_timeout_s=0.3)
    async with serving(redis_server.url, data, api=settings) as api:
        headers = await api.new_key()
        api.engine.gate.clear()
        await api.start_engine()

        status, problem = await _ask(api, headers, {"prompt": "Hello", "session_id": "s"})
        api.engine.gate.set()
        async with asyncio.timeout(30):
            while not (history := await _history(api, headers, "s"))["turns"]:
                await asyncio.sleep(0.01)

    assert (status, problem["code"]) == (504, "reply_late")
    assert history["turns"][0]["answer"] == "You said: Hello"


async def test_a_stream_shows_the_text_as_it_comes(api: Api) -> None:
    """Server-sent events: the turn, the pieces with their offsets, the whole answer."""
    headers = await api.new_key()
    body = {"prompt": "Hello", "session_id": "s", "stream": True}

    async with api.session.post(f"{api.url}/chat", json=body, headers=headers) as response:
        events = _events(await response.text())

    assert response.content_type == "text/event-stream"
    assert [name for name, _ in events] == ["turn", "delta", "delta", "final"]
    pieces = [data for name, data in events if name == "delta"]
    assert [piece["offset"] for piece in pieces] == [0, 5]
    assert "".join(piece["text"] for piece in pieces) == events[-1][1]["response"] == "You said: Hello"
    assert api.engine.seen[0].stream
    assert response.headers["X-Request-ID"]
    assert "RateLimit" in response.headers


async def test_a_stream_that_waits_too_long_ends_with_an_error(
    redis: Redis, redis_server: RedisServer, data: Path
) -> None:
    """The head has gone by then: the problem comes as an event."""
    async with serving(redis_server.url, data, api=ApiSettings(port=0, reply_timeout_s=0.3)) as api:
        headers = await api.new_key()

        async with api.session.post(
            f"{api.url}/chat", json={"prompt": "Hello", "stream": True}, headers=headers
        ) as response:
            events = _events(await response.text())

    assert events[-1][0] == "error"
    assert events[-1][1]["code"] == "reply_late"


async def test_a_full_hub_refuses(redis: Redis, redis_server: RedisServer, data: Path) -> None:
    """A full session is 429, a full hub 503; both say when to come back."""
    bus = BusSettings(max_backlog=2, max_lane=1)
    settings = ApiSettings(port=0, reply_timeout_s=0.2)
    async with serving(redis_server.url, data, api=settings, bus_settings=bus) as api:
        headers = await api.new_key()

        answers = []
        for session in ("a", "a", "b", "c"):
            body = {"prompt": "Hello", "session_id": session}
            async with api.session.post(f"{api.url}/chat", json=body, headers=headers) as response:
                problem = await response.json()
                answers.append((response.status, problem["code"], "Retry-After" in response.headers))

    late = (504, "reply_late", False)
    assert answers == [late, (429, "session_busy", True), late, (503, "busy", True)]


async def test_a_burst_is_held_to_the_limit_of_its_tier(
    redis: Redis, redis_server: RedisServer, data: Path
) -> None:
    """Of 120 requests at once with a key for 100 a minute exactly 100 are answered, the others are told when to come back."""
    keys = KeySettings(tiers={"pro": TierSettings(limit=100, at_once=200)}, self_service_tiers=("pro",))
    async with serving(redis_server.url, data, keys=keys) as api:
        await api.start_engine()
        headers = await api.new_key("pro")

        async def ask(number: int) -> tuple[int, str | None, str | None]:
            body = {"prompt": f"Question {number}", "session_id": f"s{number % 40}"}
            async with api.session.post(f"{api.url}/chat", json=body, headers=headers) as response:
                await response.read()
                policy = response.headers["RateLimit-Policy"]
                return response.status, response.headers.get("Retry-After"), policy

        answers = await asyncio.gather(*(ask(number) for number in range(120)))

    assert sorted(status for status, _, _ in answers) == [200] * 100 + [429] * 20
    assert all(1 <= int(wait or 0) <= 60 for status, wait, _ in answers if status == 429)
    assert {policy for _, _, policy in answers} == {'"pro";q=100;w=60'}
    assert len(api.engine.seen) == 100


async def test_one_key_leaves_room_for_the_others(api: Api) -> None:
    """Its requests beyond `at_once` are told to come again, whichever route they take; places are given back."""
    free, other = await api.new_key("free"), await api.new_key("free")
    api.engine.gate.clear()

    async def ask(key: dict[str, str], path: str = "/generate", body: Any = None) -> tuple[int, Any, int]:
        asked = body or {"prompt": "x"}
        async with api.session.post(f"{api.url}{path}", json=asked, headers=key) as response:
            wait_s = int(response.headers.get("Retry-After", 0))
            return response.status, await response.json(content_type=None), wait_s

    running = [asyncio.create_task(ask(free)) for _ in range(4)]
    async with asyncio.timeout(30):
        while len(api.engine.seen) < 4:
            await asyncio.sleep(0.01)
    messages = {"model": "hubbub", "messages": [{"role": "user", "content": "x"}]}
    refused = [await ask(free), await ask(free, "/v1/chat/completions", messages)]
    running.append(asyncio.create_task(ask(other)))
    async with asyncio.timeout(30):
        while len(api.engine.seen) < 5:
            await asyncio.sleep(0.01)
    api.engine.gate.set()
    answered = await asyncio.gather(*running)
    again = await ask(free)

    assert [(status, wait_s >= 1) for status, _, wait_s in refused] == [(429, True)] * 2
    assert refused[0][1]["code"] == refused[1][1]["error"]["code"] == "too_many_at_once"
    assert [status for status, _, _ in answered] == [200] * 5
    assert again[0] == 200


async def test_closing_ends_the_wait(redis: Redis, redis_server: RedisServer, data: Path) -> None:
    """A request that waits while the server closes is told where its answer will be."""
    async with serving(redis_server.url, data) as api:
        headers = await api.new_key()
        waiting = asyncio.create_task(_ask(api, headers, {"prompt": "Hello"}))
        async with asyncio.timeout(30):
            while not await api.parts.bus.backlog():
                await asyncio.sleep(0.01)
        api.parts.stopping.set()
        status, problem = await waiting

    assert (status, problem["code"]) == (503, "restarting")


async def test_a_tier_that_is_gone_lets_nobody_in(
    redis: Redis, redis_server: RedisServer, data: Path
) -> None:
    """A key whose tier was taken out of the settings is known but may do nothing."""
    tiers = KeySettings().tiers
    async with serving(redis_server.url, data, keys=KeySettings(tiers={"pro": tiers["pro"]})) as api:
        made = await type(api.parts.keys)(api.parts.keys._engine, ("free",)).create("free")

        status, problem = await _ask(api, {"X-API-Key": made.text}, {"prompt": "Hello"})

    assert (status, problem["code"]) == (403, "unknown_tier")


async def _ask(api: Api, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
    async with api.session.post(f"{api.url}/chat", json=body, headers=headers) as response:
        return response.status, await response.json(content_type=None)


async def _history(api: Api, headers: dict[str, str], session: str) -> Any:
    url = f"{api.url}/api/v1/history"
    async with api.session.get(url, params={"session_id": session}, headers=headers) as response:
        return await response.json()


def _events(text: str) -> list[tuple[str, Any]]:
    events = []
    for block in text.split("\n\n"):
        if block.startswith("event: "):
            name, _, data = block.removeprefix("event: ").partition("\ndata: ")
            events.append((name, orjson.loads(data)))
    return events


async def _until(is_true: Any) -> None:
    async with asyncio.timeout(30):
        while not is_true():
            await asyncio.sleep(0.01)
