"""The official client of OpenAI's API, unchanged, against this server."""

import asyncio
from typing import Any, cast

import openai
import pytest

from tests.hub.api.model_engine import DIMENSION, EMBEDDING_MODEL, ModelEngine
from tests.hub.api.openai_client import official_client
from tests.hub.api.serving import Api


def user(text: str) -> Any:
    """One message."""
    return [{"role": "user", "content": text}]


async def test_a_model_is_asked_itself(bare_api: Api, models: ModelEngine) -> None:
    """Messages, options and the answer as the client's types have them."""
    async with official_client(bare_api) as client:
        done = await client.chat.completions.create(
            model="echo",
            messages=[
                {"role": "developer", "content": "Be brief."},
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}],
                },
            ],
            max_completion_tokens=5,
            temperature=0.5,
            top_p=0.9,
            stop=["END", "\n\n"],
            seed=-1,
            logit_bias={"17": 5},
            user="somebody",
            extra_body={"top_k": 3},
        )

    assert done.choices[0].message.content == "one two"
    assert (done.choices[0].finish_reason, done.model, done.object) == ("stop", "echo", "chat.completion")
    assert done.usage is not None
    assert (done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.total_tokens) == (6, 2, 8)
    assert done.id.startswith("chatcmpl-")
    assert [(message.role, message.text) for message in models.echo.prompts[0]] == [
        ("system", "Be brief."),
        ("user", "one two"),
    ]
    options = models.echo.options[0]
    assert (options.max_tokens, options.temperature, options.top_p, options.top_k) == (5, 0.5, 0.9, 3)
    assert (options.stop, options.seed, options.logit_bias) == (("END", "\n\n"), 0xFFFFFFFF, ((17, 5.0),))


async def test_a_stream_adds_up_to_the_answer(bare_api: Api, models: ModelEngine) -> None:
    """Role first, then the text, then why it ended, then what it cost where that is asked for."""
    text = "one two three four"
    async with official_client(bare_api) as client:
        stream = await client.chat.completions.create(
            model="echo", messages=user(text), stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]

    assert chunks[0].choices[0].delta.role == "assistant"
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks[:-1]]
    assert "".join(pieces) == text
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 4
    assert len({chunk.id for chunk in chunks}) == 1


async def test_text_comes_while_it_is_generated(bare_api: Api, models: ModelEngine) -> None:
    """The first words are there before the last ones exist."""
    async with official_client(bare_api) as client:
        stream = await client.chat.completions.create(
            model="slow", messages=user("one two three"), stream=True
        )
        seen = ""
        async for chunk in stream:
            seen += chunk.choices[0].delta.content or ""
            if seen == "one":
                models.slow.may_go_on.set()

    assert seen == "one two three"


async def test_the_assistant_answers_with_its_sources(bare_api: Api, models: ModelEngine) -> None:
    """The model `hubbub` knows what the client says was said before, and names where its answer is from."""
    async with official_client(bare_api) as client:
        messages: Any = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "My name is Maria."},
            {"role": "assistant", "content": "Nice to meet you."},
            {"role": "user", "content": "How do I start it?"},
        ]
        done = await client.chat.completions.create(model="hubbub", messages=messages, temperature=0.7)
        message = done.choices[0].message
        again = await client.chat.completions.create(
            model="hubbub", messages=[*messages, cast("Any", message), *user("And then?")]
        )
        stream = await client.chat.completions.create(model="hubbub", messages=messages, stream=True)
        chunks = [chunk async for chunk in stream]

    assert message.content == "You said: How do I start it?"
    assert cast("Any", message).sources[0]["location"] == "guide.md"
    assert (done.model, done.usage and done.usage.prompt_tokens) == ("hubbub", 7)
    assert again.choices[0].message.content == "You said: And then?"
    first, second, _ = models.assistant.recollections
    assert [(turn.question, turn.answer) for turn in first.turns] == [
        ("My name is Maria.", "Nice to meet you.")
    ]
    assert "Maria" in first.facts["name"]
    assert second.turns[-1].answer == "You said: How do I start it?"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == message.content
    assert cast("Any", chunks[-1].choices[0].delta).sources[0]["title"] == "Guide"


async def test_completions_go_on_from_a_prompt(bare_api: Api, models: ModelEngine) -> None:
    """As it stands, without a template; whole and as a stream."""
    async with official_client(bare_api) as client:
        done = await client.completions.create(model="echo", prompt="once upon a time", max_tokens=2)
        listed = await client.completions.create(model="echo", prompt=["once"])
        stream = await client.completions.create(model="echo", prompt="once upon a time", stream=True)
        pieces = [chunk.choices[0].text async for chunk in stream]
        told = await client.completions.create(model="hubbub", prompt="Where?")

    assert (done.choices[0].text, done.choices[0].finish_reason) == ("once upon", "length")
    assert (done.object, done.id[:5]) == ("text_completion", "cmpl-")
    assert listed.choices[0].text == "once"
    assert "".join(pieces) == "once upon a time"
    assert models.echo.prompts[0] == ()
    assert told.choices[0].text == "You said: Where?"


async def test_schemas_reach_the_model(bare_api: Api, models: ModelEngine) -> None:
    """Any object, or a document of a schema; free text asks for nothing."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    formats: list[Any] = [
        {"type": "text"},
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": True}},
    ]
    async with official_client(bare_api) as client:
        for response_format in formats:
            await client.chat.completions.create(
                model="echo", messages=user("x"), response_format=response_format
            )
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(
                model="stubborn", messages=user("x"), response_format=formats[1]
            )

    schemas = [options.json_schema for options in models.echo.options]
    assert schemas[:2] == ["", "{}"]
    assert '"integer"' in schemas[2]
    assert refused.value.code == "option_refused"
    assert "knows no schemas" in refused.value.message


async def test_models_are_listed(bare_api: Api, models: ModelEngine) -> None:
    """The assistant first, then the registry, then what embeds."""
    async with official_client(bare_api) as client:
        names = [model.id async for model in client.models.list()]
        one = await client.models.retrieve("echo")
        with pytest.raises(openai.NotFoundError) as missing:
            await client.models.retrieve("gpt/9")

    assert names == ["hubbub", "echo", "slow", "stubborn", EMBEDDING_MODEL]
    assert (one.id, one.object) == ("echo", "model")
    assert missing.value.code == "model_not_found"


@pytest.mark.parametrize("encoding", ["float", "base64", None])
async def test_embeddings_keep_their_order(bare_api: Api, models: ModelEngine, encoding: Any) -> None:
    """One vector for each text, as floats or as the client's own base64."""
    texts = ["x" * size for size in range(1, 71)]
    more: Any = {} if encoding is None else {"encoding_format": encoding}
    async with official_client(bare_api) as client:
        made = await client.embeddings.create(model=EMBEDDING_MODEL, input=texts, **more)
        single = await client.embeddings.create(
            model=EMBEDDING_MODEL, input="one two", encoding_format="float"
        )

    assert [row.index for row in made.data] == list(range(70))
    if encoding != "base64":
        assert [row.embedding[0] for row in made.data] == [float(size) for size in range(1, 71)]
        assert made.data[0].embedding[1:] == [0.5, 0.25, 0.125]
    assert len(single.data[0].embedding) == DIMENSION
    assert (made.usage.prompt_tokens, single.usage.total_tokens) == (70, 2)


async def test_errors_are_those_of_the_client(bare_api: Api, models: ModelEngine) -> None:
    """Each has its class, its code, and where it applies the field."""
    async with official_client(bare_api) as client, official_client(bare_api, "wrong") as stranger:
        with pytest.raises(openai.AuthenticationError) as unknown:
            await stranger.chat.completions.create(model="echo", messages=user("x"))
        with pytest.raises(openai.NotFoundError) as missing:
            await client.chat.completions.create(model="gpt-9", messages=user("x"))
        with pytest.raises(openai.NotFoundError) as missing_stream:
            await client.chat.completions.create(model="gpt-9", messages=user("x"), stream=True)
        with pytest.raises(openai.BadRequestError) as long:
            await client.chat.completions.create(model="echo", messages=user("word " * 100))
        with pytest.raises(openai.BadRequestError) as hot:
            await client.chat.completions.create(model="echo", messages=user("x"), temperature=3)
        with pytest.raises(openai.NotFoundError) as other:
            await client.embeddings.create(model="echo", input="x")
        with pytest.raises(openai.BadRequestError) as small:
            await client.embeddings.create(model=EMBEDDING_MODEL, input="x", dimensions=3)

    assert unknown.value.code == "invalid_api_key"
    assert missing.value.code == missing_stream.value.code == "model_not_found"
    assert "echo" in missing.value.message
    assert (long.value.code, "holds 64" in long.value.message) == ("context_length_exceeded", True)
    assert (hot.value.code, hot.value.param) == ("invalid_fields", "temperature")
    assert other.value.code == "model_not_found"
    assert small.value.param == "dimensions"


async def test_a_busy_model_refuses_and_says_when_to_come_again(bare_api: Api, models: ModelEngine) -> None:
    """The client waits and repeats by itself; without that its user sees the seconds."""
    async with official_client(bare_api) as client:
        with pytest.raises(openai.InternalServerError) as refused:
            await client.chat.completions.create(model="crowded", messages=user("x"))
        with pytest.raises(openai.InternalServerError) as refused_stream:
            await client.chat.completions.create(model="crowded", messages=user("x"), stream=True)
        waiting = asyncio.create_task(
            client.with_options(max_retries=1).chat.completions.create(model="crowded", messages=user("y"))
        )
        async with asyncio.timeout(30):
            while models.crowded.refused < 3:
                await asyncio.sleep(0.01)
        models.crowded.is_crowded = False
        done = await waiting

    for error in (refused.value, refused_stream.value):
        assert (error.status_code, error.code) == (503, "model_busy")
        assert error.response.headers["retry-after"] == "2"
    assert done.choices[0].message.content == "y"


async def test_a_stream_tells_how_long_it_will_take(bare_api: Api, models: ModelEngine) -> None:
    """In a comment, which the official client passes over."""
    models.crowded.is_crowded = False
    body = {"model": "crowded", "messages": user("one two"), "stream": True}
    key = await bare_api.new_key()
    async with bare_api.session.post(
        f"{bare_api.url}/v1/chat/completions", json=body, headers=key
    ) as response:
        lines = (await response.text()).splitlines()
    async with official_client(bare_api, key["X-API-Key"]) as client:
        stream = await client.chat.completions.create(model="crowded", messages=user("one two"), stream=True)
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]

    assert ": waiting 13 s" in lines
    assert lines.index(": waiting 13 s") < next(n for n, line in enumerate(lines) if "one" in line)
    assert "".join(pieces) == "one two"


async def test_the_limit_of_a_key_holds_for_this_client_too(bare_api: Api, models: ModelEngine) -> None:
    """The eleventh request of a free key in a minute is told when to come back."""
    async with official_client(bare_api, tier="free") as client:
        for _ in range(10):
            await client.chat.completions.create(model="echo", messages=user("x"))
        with pytest.raises(openai.RateLimitError) as refused:
            await client.models.list()

    assert refused.value.code == "rate_limit_exceeded"
    assert int(refused.value.response.headers["retry-after"]) >= 1


IMPOSSIBLE: list[dict[str, Any]] = [
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
    {"frequency_penalty": 0.5},
    {"presence_penalty": -1},
    {"n": 2},
    {"logprobs": True},
    {"top_logprobs": 2, "logprobs": True},
    {"tool_choice": "required"},
    {"modalities": ["audio"]},
    {"reasoning_effort": "high"},
    {"extra_body": {"made_up": 1}},
    {"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
    {"messages": [{"role": "user", "content": None}]},
    {"messages": []},
    {"model": "hubbub", "stop": "x"},
    {"model": "hubbub", "messages": [{"role": "assistant", "content": "x"}]},
    {"response_format": {"type": "json_schema"}},
    {"logit_bias": {"a": 1}},
    {"logit_bias": {"1": 101}},
    {"stop": ["x"] * 17},
    {"max_tokens": 0},
    {"stream": "yes"},
]


async def test_what_is_not_possible_is_refused(bare_api: Api) -> None:
    """A field that would be left out in silence is an error instead; nothing is asked of a model."""
    async with official_client(bare_api) as client:
        for more in IMPOSSIBLE:
            request: Any = {"model": "echo", "messages": user("x"), **more}
            with pytest.raises(openai.BadRequestError) as refused:
                await client.chat.completions.create(**request)
            assert refused.value.code == "invalid_fields", more

    assert await bare_api.parts.bus.backlog() == 0


async def test_what_asks_for_nothing_is_allowed(bare_api: Api, models: ModelEngine) -> None:
    """Clients fill in defaults and nulls."""
    request: Any = {
        "model": "echo",
        "messages": [*user("x"), {"role": "assistant", "content": None, "tool_calls": None}, *user("y")],
        "n": 1,
        "frequency_penalty": 0,
        "presence_penalty": 0.0,
        "logprobs": False,
        "tools": [],
        "tool_choice": "none",
        "stop": None,
        "temperature": None,
        "metadata": {"a": "b"},
        "store": False,
        "parallel_tool_calls": True,
        "response_format": {"type": "text"},
        "modalities": ["text"],
        "stream": False,
    }

    async with official_client(bare_api) as client:
        done = await client.chat.completions.create(**request)

    assert done.choices[0].message.content == "y"


async def test_nothing_of_these_requests_piles_up(bare_api: Api, models: ModelEngine) -> None:
    """A turn that belongs to no session is gone within the hour."""
    async with official_client(bare_api) as client:
        await asyncio.gather(
            *(client.chat.completions.create(model="echo", messages=user(str(n))) for n in range(5))
        )

    redis: Any = bare_api.parts.bus.redis
    kept = await redis.keys("*:history:*")
    lasting = [await redis.ttl(key) for key in kept]
    assert len(kept) == 5
    assert all(0 < left <= 3600 for left in lasting)
    assert len({message.conversation for message in models.seen}) == 5
