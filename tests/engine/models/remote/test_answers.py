"""Remote models: what is asked, and what becomes of an answer that is in order."""

import asyncio
from typing import Any

import pytest

from engine.models.base import ChatMessage, End, GenerateOptions, Prompt, Text
from hub.errors import ContextWindowExceeded, ModelError, OptionRefused, SettingsError
from tests.emulators.endpoint import Connection, Endpoint, answers, event, falls_silent_after, says, streams
from tests.engine.models.remote.asking import HELLO, KEY, ask, remote


async def test_an_answer_is_the_text_of_its_pieces() -> None:
    """Pieces come as they are sent, and the end tells why."""
    async with Endpoint(says("Red", ", green", " and blue.")) as endpoint, remote(endpoint.base_url) as model:
        text, end = await ask(model)

    assert text == "Red, green and blue."
    assert end == End(reason="stop", prompt_tokens=model.count_tokens(HELLO.messages), answer_tokens=3)


async def test_what_it_cost_is_as_the_server_counted() -> None:
    """The event with the usage comes after the last piece."""
    usage = {
        "prompt_tokens": 31,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 16},
    }
    told = b'data: {"choices": [], "usage": %s}\n\n' % str(usage).replace("'", '"').encode()

    async with (
        Endpoint(says("Red.", end=told + b"data: [DONE]\n\n")) as endpoint,
        remote(endpoint.base_url) as model,
    ):
        _, end = await ask(model)
        known = await model.statistics()

    assert end == End(reason="stop", prompt_tokens=31, answer_tokens=5, cached_tokens=16)
    assert (known.prompt_tokens, known.cached_tokens, known.answer_tokens, known.running) == (31, 16, 5, 0)


async def test_the_request_says_what_the_options_ask() -> None:
    """Every option that the protocol knows is passed on, with the messages and the key."""
    schema = '{"type": "object"}'
    async with Endpoint(says("Red")) as endpoint, remote(endpoint.base_url) as model:
        await ask(
            model,
            temperature=0.5,
            top_p=0.8,
            seed=7,
            stop=("a", "b", "c", "d", "e"),
            logit_bias=((5, -2.5),),
            json_schema=schema,
        )
    [request] = endpoint.requests

    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body == {
        "model": "small",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 20,
        "temperature": 0.5,
        "top_p": 0.8,
        "seed": 7,
        "stop": ["a", "b", "c", "d"],
        "logit_bias": {"5": -2.5},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": {"type": "object"}},
        },
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Name three colours."},
        ],
    }


async def test_plain_text_is_continued() -> None:
    """A prompt without messages goes where no template is written around it."""
    behave = streams(b'data: {"choices": [{"text": " time", "finish_reason": "length"}]}\n\n')
    async with Endpoint(behave) as endpoint, remote(endpoint.base_url + "/") as model:
        text, end = await ask(model, Prompt(text="Once upon a"), max_tokens=1)
    [request] = endpoint.requests

    assert (text, end.reason, end.answer_tokens) == (" time", "length", 1)
    assert (request.path, request.body["prompt"]) == ("/v1/completions", "Once upon a")


@pytest.mark.parametrize(
    "option",
    [
        {"grammar": 'root ::= "a"'},
        {"repeat_penalty": 1.2},
        {"temperature": 1.0, "top_k": 3},
        {"temperature": 1.0, "min_p": 0.1},
        {"logit_bias": ((1, float("-inf")),)},
        {"json_schema": "[]"},
        {"json_schema": "{"},
    ],
)
async def test_an_option_the_protocol_lacks_is_refused(option: dict[str, Any]) -> None:
    """It is never left out in silence, and the server is not even asked."""
    async with Endpoint(says("Red")) as endpoint, remote(endpoint.base_url) as model:
        with pytest.raises(OptionRefused):
            await ask(model, **option)

    assert not endpoint.requests


async def test_a_stop_string_ends_the_answer_and_the_connection() -> None:
    """Also where the server does not know it, and between two pieces."""
    begun = event("Red") + event(" STO") + event("P and more")
    async with Endpoint(falls_silent_after(begun)) as endpoint, remote(endpoint.base_url) as model:
        text, end = await ask(model, stop=("1", "2", "3", "4", " STOP"))

        async with asyncio.timeout(20):
            await endpoint.hung_up.wait()

    assert (text, end.reason) == ("Red", "stop")


async def test_closing_the_iterator_closes_the_connection() -> None:
    """The server hears that nobody listens any more, and the model is free."""
    async with Endpoint(falls_silent_after(event("Red"))) as endpoint, remote(endpoint.base_url) as model:
        events = model.stream(HELLO, GenerateOptions(max_tokens=20))
        assert await anext(events) == Text(text="Red")
        assert (await model.statistics()).running == 1

        await events.aclose()

        async with asyncio.timeout(20):
            await endpoint.hung_up.wait()
        assert (await model.statistics()).running == 0


async def test_thoughts_are_no_part_of_the_answer() -> None:
    """A model that thinks aloud is alive, and only what it says is shown."""
    thought = b'data: {"choices": [{"delta": {"reasoning_content": "Hm."}}]}\n\n'
    async with (
        Endpoint(streams(thought + event("Red.") + event(finish="stop"))) as endpoint,
        remote(endpoint.base_url) as model,
    ):
        text, _ = await ask(model)

    assert text == "Red."


async def test_half_a_character_pair_is_sent_as_a_question_mark() -> None:
    """JSON cannot say it, and one odd message must not end in an error."""
    odd = Prompt(messages=(ChatMessage(role="user", text="colour \ud83d?"),))
    async with Endpoint(says("Red")) as endpoint, remote(endpoint.base_url) as model:
        await ask(model, odd)

    assert endpoint.requests[0].body["messages"][0]["content"] == "colour ??"


@pytest.mark.parametrize(
    "error",
    [
        b'{"error": {"message": "too long", "code": "context_length_exceeded"}}',
        b'{"error": {"code": 400, "type": "exceed_context_size_error", "message": "too long"}}',
    ],
)
async def test_a_prompt_that_the_server_finds_too_long_is_the_callers_to_shorten(error: bytes) -> None:
    """OpenAI and llama-server say it in words of their own."""
    async with (
        Endpoint(answers("400 Bad Request", error)) as endpoint,
        remote(endpoint.base_url, attempts=3) as model,
    ):
        with pytest.raises(ContextWindowExceeded):
            await ask(model)

    assert len(endpoint.requests) == 1


async def test_a_refused_request_is_not_repeated_elsewhere() -> None:
    """What is wrong with a request is wrong everywhere."""
    no = answers("422 Unprocessable Content", b'{"error": {"message": "response_format is unknown"}}')
    async with (
        Endpoint(no) as first,
        Endpoint(says("Red")) as second,
        remote(first.base_url, second.base_url, attempts=3) as model,
    ):
        with pytest.raises(OptionRefused, match="response_format is unknown"):
            await ask(model)

    assert (len(first.requests), len(second.requests)) == (1, 0)


async def test_closing_waits_for_what_runs() -> None:
    """An answer that is under way when the model is unloaded comes to its end."""
    go_on = asyncio.Event()

    async def hesitates(connection: Connection) -> None:
        await connection.begin()
        await connection.write(event("Red"))
        await go_on.wait()
        await connection.write(event(".", finish="stop"))

    async with Endpoint(hesitates) as endpoint, remote(endpoint.base_url) as model:
        events = model.stream(HELLO, GenerateOptions(max_tokens=20))
        await anext(events)
        closing = asyncio.create_task(model.close())
        go_on.set()
        rest = [event async for event in events]
        await closing

    assert rest[0] == Text(text=".")
    assert isinstance(rest[1], End)


@pytest.mark.parametrize(
    "url", ["ftp://host/v1", "host:80/v1", "http://", "http://me:secret@host/v1", "http://h/?a=b"]
)
async def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    """Before anybody waits for an answer, and without repeating a secret."""
    with pytest.raises(SettingsError, match=r"models\.far\.base_urls") as caught:
        async with remote(url):
            pass

    assert "secret" not in str(caught.value)


async def test_a_key_with_a_line_break_is_refused() -> None:
    """It would begin another header."""
    with pytest.raises(SettingsError, match=r"models\.far\.api_key"):
        async with remote("http://127.0.0.1:1/v1", api_key="a\nb"):
            pass


async def test_a_server_that_ignores_max_tokens_is_stopped() -> None:
    """What nobody asked for is not piled up."""
    flood = event("word " * 100) * 1000
    async with Endpoint(streams(flood)) as endpoint, remote(endpoint.base_url) as model:
        with pytest.raises(ModelError, match="far more came"):
            await ask(model, max_tokens=2)
