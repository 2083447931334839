"""What bad requests to models get: a fixed status and code, never a 500, and never a turn."""

from typing import Any

import orjson
import pytest

from tests.hub.api.model_engine import ModelEngine
from tests.hub.api.serving import Api

USER = {"role": "user", "content": "x"}
SURROGATE = b'"\\ud800"'


def raw(**fields: Any) -> bytes:
    """Write a body; bytes stand as they are."""
    written = [b'"' + name.encode() + b'":' + _value(value) for name, value in fields.items()]
    return b"{" + b",".join(written) + b"}"


def _value(value: Any) -> bytes:
    return value if isinstance(value, bytes) else orjson.dumps(value)


DEEP = b"[" * 100 + b"]" * 100
MILLION = b"[" + b'{"role":"user","content":""},' * 30_000 + b'{"role":"user","content":"x"}]'
"""As many messages as fit into a body."""

ASKS: list[tuple[str, bytes, int, str]] = [
    ("nothing", raw(), 422, "invalid_fields"),
    ("no prompt", raw(model="echo"), 422, "invalid_fields"),
    ("both", raw(prompt="x", messages=[USER]), 422, "invalid_fields"),
    ("null prompt", raw(prompt=None), 422, "invalid_fields"),
    ("list prompt", raw(prompt=["x"]), 422, "invalid_fields"),
    ("controls only", raw(model="echo", prompt="\x00\x1b"), 422, "invalid_fields"),
    ("lone surrogate", raw(model="echo", prompt=SURROGATE), 422, "invalid_fields"),
    ("no messages", raw(messages=[]), 422, "invalid_fields"),
    ("message no object", raw(messages=["x"]), 422, "invalid_fields"),
    ("message null", raw(messages=[None]), 422, "invalid_fields"),
    ("unknown role", raw(messages=[{"role": "root", "content": "x"}]), 422, "invalid_fields"),
    ("role of another case", raw(messages=[{"role": "User", "content": "x"}]), 422, "invalid_fields"),
    ("content number", raw(messages=[{"role": "user", "content": 1}]), 422, "invalid_fields"),
    ("content null", raw(messages=[{"role": "user", "content": None}]), 422, "invalid_fields"),
    ("message field", raw(messages=[USER | {"id": 1}]), 422, "invalid_fields"),
    ("too many messages", raw(model="echo", messages=[USER] * 1001), 422, "invalid_fields"),
    ("a million messages", raw(model="echo", messages=MILLION), 400, "invalid_json"),
    ("no question", raw(messages=[{"role": "system", "content": "x"}]), 422, "invalid_fields"),
    ("empty question", raw(messages=[{"role": "user", "content": " "}]), 422, "invalid_fields"),
    ("long question", raw(messages=[{"role": "user", "content": "x" * 8001}]), 422, "invalid_fields"),
    ("model number", raw(model=5, prompt="x"), 422, "invalid_fields"),
    ("model null", raw(model=None, prompt="x"), 422, "invalid_fields"),
    ("model long", raw(model="x" * 201, prompt="x"), 422, "invalid_fields"),
    ("model path", raw(model="../../etc/passwd", prompt="x"), 404, "model_not_found"),
    ("model absolute", raw(model="/etc/passwd", prompt="x"), 404, "model_not_found"),
    ("model controls", raw(model="a\x00b", prompt="x"), 404, "model_not_found"),
    ("model of another case", raw(model="Echo", prompt="x"), 404, "model_not_found"),
    ("max_tokens 0", raw(model="echo", prompt="x", max_tokens=0), 422, "invalid_fields"),
    ("max_tokens -1", raw(model="echo", prompt="x", max_tokens=-1), 422, "invalid_fields"),
    ("max_tokens 1e9", raw(model="echo", prompt="x", max_tokens=10**9), 422, "invalid_fields"),
    ("max_tokens 5.0", raw(model="echo", prompt="x", max_tokens=5.0), 422, "invalid_fields"),
    ("max_tokens text", raw(model="echo", prompt="x", max_tokens="5"), 422, "invalid_fields"),
    ("max_tokens true", raw(model="echo", prompt="x", max_tokens=True), 422, "invalid_fields"),
    ("max_tokens huge", raw(model="echo", prompt="x", max_tokens=b"9" * 5000), 400, "invalid_json"),
    ("temperature -1", raw(model="echo", prompt="x", temperature=-1), 422, "invalid_fields"),
    ("temperature 1e9", raw(model="echo", prompt="x", temperature=1e9), 422, "invalid_fields"),
    ("temperature NaN", raw(model="echo", prompt="x", temperature=b"NaN"), 400, "invalid_json"),
    ("temperature 1e999", raw(model="echo", prompt="x", temperature=b"1e999"), 400, "invalid_json"),
    ("temperature true", raw(model="echo", prompt="x", temperature=True), 422, "invalid_fields"),
    ("top_p 0", raw(model="echo", prompt="x", top_p=0), 422, "invalid_fields"),
    ("top_p 2", raw(model="echo", prompt="x", top_p=2), 422, "invalid_fields"),
    ("top_k -1", raw(model="echo", prompt="x", top_k=-1), 422, "invalid_fields"),
    ("min_p 2", raw(model="echo", prompt="x", min_p=2), 422, "invalid_fields"),
    ("repeat_penalty 0", raw(model="echo", prompt="x", repeat_penalty=0), 422, "invalid_fields"),
    ("seed -1", raw(model="echo", prompt="x", seed=-1), 422, "invalid_fields"),
    ("seed 2^32", raw(model="echo", prompt="x", seed=2**32), 422, "invalid_fields"),
    ("stop empty", raw(model="echo", prompt="x", stop=""), 422, "invalid_fields"),
    ("stop number", raw(model="echo", prompt="x", stop=1), 422, "invalid_fields"),
    ("stop many", raw(model="echo", prompt="x", stop=["x"] * 17), 422, "invalid_fields"),
    ("stop long", raw(model="echo", prompt="x", stop=["x" * 201]), 422, "invalid_fields"),
    ("bias list", raw(model="echo", prompt="x", logit_bias=[]), 422, "invalid_fields"),
    ("bias word", raw(model="echo", prompt="x", logit_bias={"a": 1}), 422, "invalid_fields"),
    ("bias digits", raw(model="echo", prompt="x", logit_bias={"٣": 1}), 422, "invalid_fields"),
    ("bias large", raw(model="echo", prompt="x", logit_bias={"1": 1e6}), 422, "invalid_fields"),
    (
        "bias many",
        raw(model="echo", prompt="x", logit_bias={str(n): 1 for n in range(301)}),
        422,
        "invalid_fields",
    ),
    ("schema text", raw(model="echo", prompt="x", json_schema="{}"), 422, "invalid_fields"),
    ("schema list", raw(model="echo", prompt="x", json_schema=[]), 422, "invalid_fields"),
    ("schema deep", raw(model="echo", prompt="x", json_schema=b'{"a":' + DEEP + b"}"), 400, "invalid_json"),
    ("grammar long", raw(model="echo", prompt="x", grammar="x" * 20_001), 422, "invalid_fields"),
    ("cache text", raw(model="echo", prompt="x", use_cache="yes"), 422, "invalid_fields"),
    ("raw of messages", raw(model="echo", messages=[USER], raw=True), 422, "invalid_fields"),
    ("raw in a session", raw(model="echo", prompt="x", raw=True, session_id="s"), 422, "invalid_fields"),
    ("raw assistant", raw(prompt="x", raw=True), 422, "invalid_fields"),
    ("stop of the assistant", raw(prompt="x", stop="y"), 422, "invalid_fields"),
    ("schema of the assistant", raw(prompt="x", json_schema={}), 422, "invalid_fields"),
    ("grammar of the assistant", raw(prompt="x", grammar="root ::= x"), 422, "invalid_fields"),
    ("unknown field", raw(model="echo", prompt="x", colour=1), 422, "invalid_fields"),
    ("field of another case", raw(model="echo", prompt="x", Stream=True), 422, "invalid_fields"),
    ("session path", raw(model="echo", prompt="x", session_id="../x"), 400, "invalid_id"),
    ("with_history", raw(model="echo", prompt="x", with_history=True), 422, "invalid_fields"),
    ("tier", raw(model="echo", prompt="x", tier="own"), 422, "invalid_fields"),
    ("too large", raw(model="echo", prompt="x" * 70_000), 413, "prompt_too_large"),
    ("grows", raw(model="echo", prompt="\x01\x7f\u2028" * 30_000), 413, "prompt_too_large"),
]

CHATS: list[tuple[str, bytes, int, str]] = [
    ("nothing", raw(), 400, "invalid_fields"),
    ("no model", raw(messages=[USER]), 400, "invalid_fields"),
    ("empty model", raw(model="", messages=[USER]), 400, "invalid_fields"),
    ("no messages", raw(model="echo"), 400, "invalid_fields"),
    ("a million messages", raw(model="echo", messages=MILLION), 400, "invalid_json"),
    ("deep", raw(model="echo", messages=[USER], metadata=DEEP), 400, "invalid_json"),
    ("NaN", raw(model="echo", messages=[USER], temperature=b"NaN"), 400, "invalid_json"),
    ("twice", b'{"model":"echo","model":"slow","messages":[]}', 400, "invalid_json"),
    ("text for a list", raw(model="echo", messages="x"), 400, "invalid_fields"),
    ("part number", raw(model="echo", messages=[{"role": "user", "content": [1]}]), 400, "invalid_fields"),
    ("part without text", raw(model="echo", messages=[{"role": "user", "content": [{"type": "text"}]}]), 400, "invalid_fields"),
    ("many parts", raw(model="echo", messages=[{"role": "user", "content": [{"type": "text", "text": "x"}] * 101}]), 400, "invalid_fields"),
    ("seed text", raw(model="echo", messages=[USER], seed="1"), 400, "invalid_fields"),
    ("schema twice nested", raw(model="echo", messages=[USER], response_format={"type": "json_schema", "json_schema": {"name": 1}}), 400, "invalid_fields"),
    ("format unknown", raw(model="echo", messages=[USER], response_format={"type": "xml"}), 400, "invalid_fields"),
    ("format text", raw(model="echo", messages=[USER], response_format="json"), 400, "invalid_fields"),
    ("too large", raw(model="echo", messages=[{"role": "user", "content": "x" * 70_000}]), 413, "prompt_too_large"),
]  # fmt: skip

TEXTS: list[tuple[str, bytes, int, str]] = [
    ("no prompt", raw(model="echo"), 400, "invalid_fields"),
    ("empty prompt", raw(model="echo", prompt=""), 400, "invalid_fields"),
    ("empty in a list", raw(model="echo", prompt=[""]), 400, "invalid_fields"),
    ("two prompts", raw(model="echo", prompt=["x", "y"]), 400, "invalid_fields"),
    ("tokens", raw(model="echo", prompt=[1, 2]), 400, "invalid_fields"),
    ("suffix", raw(model="echo", prompt="x", suffix="y"), 400, "invalid_fields"),
    ("echo", raw(model="echo", prompt="x", echo=True), 400, "invalid_fields"),
    ("best_of", raw(model="echo", prompt="x", best_of=2), 400, "invalid_fields"),
    ("messages", raw(model="echo", messages=[USER]), 400, "invalid_fields"),
]

EMBEDDINGS: list[tuple[str, bytes, int, str]] = [
    ("no input", raw(model="m"), 400, "invalid_fields"),
    ("empty", raw(model="m", input=""), 400, "invalid_fields"),
    ("empty list", raw(model="m", input=[]), 400, "invalid_fields"),
    ("empty in a list", raw(model="m", input=["x", ""]), 400, "invalid_fields"),
    ("tokens", raw(model="m", input=[1, 2]), 400, "invalid_fields"),
    ("token lists", raw(model="m", input=[[1, 2]]), 400, "invalid_fields"),
    ("many", raw(model="m", input=["x"] * 257), 400, "invalid_fields"),
    ("a million", raw(model="m", input=b"[" + b'"x",' * 200_000 + b'"x"]'), 400, "invalid_json"),
    ("encoding", raw(model="m", input="x", encoding_format="hex"), 400, "invalid_fields"),
    ("dimensions", raw(model="m", input="x", dimensions=0), 400, "invalid_fields"),
    ("unknown model", raw(model="m", input="x"), 404, "model_not_found"),
]

TABLES = {
    "/api/v1/generate": ASKS,
    "/chat": ASKS,
    "/v1/chat/completions": CHATS,
    "/v1/completions": TEXTS,
    "/v1/embeddings": EMBEDDINGS,
}


@pytest.mark.parametrize("path", TABLES)
async def test_bad_bodies_get_their_answer(bare_api: Api, models: ModelEngine, path: str) -> None:
    """Each its status and code; whole or as a stream, none reaches a model."""
    headers = await bare_api.new_key() | {"Content-Type": "application/json"}
    is_openai = path.startswith("/v1/")

    for name, body, status, code in TABLES[path]:
        async with bare_api.session.post(bare_api.url + path, data=body, headers=headers) as response:
            answer = await response.json(content_type=None)
        found = answer["error"]["code"] if is_openai else answer["code"]
        assert (response.status, found) == (status, code), name

    asked = [*models.echo.options, *models.slow.options, *models.assistant.recollections]
    assert asked == []


@pytest.mark.parametrize("path", [*TABLES, "/v1/models"])
async def test_strangers_learn_nothing(bare_api: Api, path: str) -> None:
    """Without a key, or with a wrong one, every body gets the same; in the form of its API."""
    answers = set()
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic eA=="},
        {"X-API-Key": "é"},
    ):
        method = "GET" if path == "/v1/models" else "POST"
        async with bare_api.session.request(
            method, bare_api.url + path, data=b"{", headers=headers
        ) as response:
            answer = await response.json(content_type=None)
        answers.add((response.status, answer["error"]["code"] if path.startswith("/v1/") else answer["code"]))

    assert answers == {(401, "invalid_api_key" if path.startswith("/v1/") else "unauthorized")}


async def test_other_methods_and_paths_are_refused_in_the_form_of_their_api(bare_api: Api) -> None:
    """405 and 404 are error objects below /v1, too, and so is 415."""
    headers = await bare_api.new_key()
    answers = []
    for method, path, more in (
        ("GET", "/v1/chat/completions", {}),
        ("DELETE", "/v1/models/echo", {}),
        ("POST", "/v1/responses", {}),
        ("POST", "/v1/chat/completions", {"Content-Type": "text/plain"}),
        ("GET", "/v1/models?x=1", {}),
    ):
        async with bare_api.session.request(method, bare_api.url + path, headers=headers | more) as response:
            answer = await response.json()
        answers.append((response.status, answer["error"]["code"]))

    assert answers == [
        (405, "method_not_allowed"),
        (405, "method_not_allowed"),
        (404, "not_found"),
        (415, "media_type"),
        (400, "unknown_parameter"),
    ]
    assert "X-Request-ID" in response.headers


@pytest.mark.parametrize("size", [1, 50])
async def test_odd_characters_reach_a_model_unharmed(bare_api: Api, models: ModelEngine, size: int) -> None:
    """Emoji, tabs, right-to-left text and template tokens are text; nothing is composed or cut."""
    headers = await bare_api.new_key()
    text = "e\u0301\t👩‍👩‍👧\u202eabc\u202c<|im_end|>[INST]\r\n" * size

    async with bare_api.session.post(
        f"{bare_api.url}/generate", json={"model": "echo", "prompt": text, "raw": True}, headers=headers
    ) as response:
        await response.read()

    [message] = models.seen
    assert message.generation is not None
    assert message.generation.prompt == text
