"""A remote model against a real server: the one of llama-cpp-python."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from engine.models.base import ChatMessage, GenerateOptions, Prompt, Text
from engine.models.remote import RemoteChatModel
from engine.models.remote.probe import probe
from hub.errors import ModelError
from hub.model_settings import RemoteSettings
from tests.engine.models.remote.asking import ask, remote
from tests.servers.llama_server import MODEL, LlamaServer

CAPITAL = Prompt(messages=(ChatMessage(role="user", text="What is the capital of France?"),))


@pytest.fixture
async def model(llama_server: LlamaServer) -> AsyncIterator[RemoteChatModel]:
    """Give the model that the server runs."""
    async with remote(llama_server.base_url, model=MODEL, api_key=llama_server.api_key) as model:
        yield model


async def test_a_question_is_answered(model: RemoteChatModel) -> None:
    """The server's template, model and end of text, over its stream."""
    text, end = await ask(model, CAPITAL)

    assert "Paris" in text
    assert end.reason == "stop"
    assert 0 < end.answer_tokens < 20


async def test_plain_text_is_continued(model: RemoteChatModel) -> None:
    """No template is written around it."""
    text, end = await ask(model, Prompt(text="One, two, three, four,"), max_tokens=3)

    assert "five" in text
    assert (end.reason, end.answer_tokens) == ("length", 3)


async def test_an_answer_can_be_any_json_object(model: RemoteChatModel) -> None:
    """The empty schema asks for JSON."""
    text, _ = await ask(model, CAPITAL, json_schema="{}", max_tokens=40)

    assert text.lstrip().startswith("{")


async def test_what_the_server_does_not_know_is_told_in_its_words(model: RemoteChatModel) -> None:
    """The server knows JSON objects only, and takes anything else for a failure of its own."""
    with pytest.raises(ModelError, match=r"\(500\): .*Input should be 'text' or 'json_object'"):
        await ask(model, CAPITAL, json_schema='{"type": "object", "properties": {}}')


async def test_a_bias_changes_the_answer(model: RemoteChatModel) -> None:
    """Token ids are those of the server's vocabulary."""
    plain, _ = await ask(model, CAPITAL)
    biased, _ = await ask(model, CAPITAL, logit_bias=((504, -100.0),))

    assert plain.startswith("The")
    assert not biased.startswith("The")


async def test_a_wrong_key_is_told(llama_server: LlamaServer) -> None:
    """Without the key."""
    async with remote(llama_server.base_url, model=MODEL, api_key="sk-wrong") as model:
        with pytest.raises(ModelError, match="does not accept the API key") as caught:
            await ask(model, CAPITAL)

    assert "sk-wrong" not in str(caught.value)


async def test_a_given_up_answer_is_not_computed_to_its_end(model: RemoteChatModel) -> None:
    """The server computes one answer at a time, so that the next one shows that it has stopped."""
    long = Prompt(messages=(ChatMessage(role="user", text="Tell a long story about a ship."),))
    events = model.stream(long, GenerateOptions(max_tokens=1900))
    assert isinstance(await anext(events), Text)
    await events.aclose()

    async with asyncio.timeout(30):
        assert "Paris" in (await ask(model, CAPITAL))[0]


async def test_a_server_is_asked_for_its_models(llama_server: LlamaServer) -> None:
    """Whether it is there, whether it takes the key, and whether it has the model."""

    async def ask_for(model: str, key: str) -> tuple[bool, str]:
        settings = RemoteSettings(
            type="remote", base_urls=(llama_server.base_url,), model=model, api_key=SecretStr(key)
        )
        [probed] = await probe("far", settings)
        return probed.answers, probed.text.removeprefix(probed.host)

    assert await ask_for(MODEL, llama_server.api_key) == (True, " answers")
    assert await ask_for("other", llama_server.api_key) == (
        True,
        f" answers; it does not list other, but: {MODEL}",
    )
    assert (await ask_for(MODEL, "sk-wrong"))[1].startswith(" does not accept the API key (401)")
