"""What every chat model promises."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path

import pytest
from pydantic import SecretStr

from engine.models.base import ChatMessage, ChatModel, End, GenerateOptions, Prompt, Text
from engine.models.llama.model import LlamaChatModel
from engine.models.onnx_model import OnnxChatModel
from engine.models.remote import RemoteChatModel
from engine.models.transformers_model import TransformersChatModel
from hub.errors import ContextWindowExceeded
from hub.model_settings import GgufSettings, OnnxSettings, RemoteSettings, SafetensorsSettings
from tests.hosted import hosted
from tests.models import EchoModel, said_by
from tests.servers.llama_server import MODEL, LlamaServer

HELLO = (ChatMessage(role="system", text="Be brief."), ChatMessage(role="user", text="Name three colours."))


def _ask(text: str) -> Prompt:
    return Prompt(messages=(ChatMessage(role="user", text=text),))


@contextlib.asynccontextmanager
async def _echo() -> AsyncIterator[ChatModel]:
    yield EchoModel(context_length=512)


@contextlib.asynccontextmanager
async def _gguf() -> AsyncIterator[ChatModel]:
    model = await LlamaChatModel.load("small", GgufSettings(context_length=512))
    yield model
    await model.close()


MODELS: dict[str, Callable[[], AbstractAsyncContextManager[ChatModel]]] = {
    "echo": _echo,
    "gguf": _gguf,
    "process": lambda: hosted(GgufSettings(context_length=512)),
}


@contextlib.asynccontextmanager
async def _remote(server: LlamaServer) -> AsyncIterator[ChatModel]:
    settings = RemoteSettings(
        type="remote",
        base_urls=(server.base_url,),
        model=MODEL,
        api_key=SecretStr(server.api_key),
        context_length=512,
    )
    model = await RemoteChatModel.load("far", settings)
    yield model
    await model.close()


@contextlib.asynccontextmanager
async def _safetensors(folder: Path) -> AsyncIterator[ChatModel]:
    settings = SafetensorsSettings(type="safetensors", path=str(folder / "safetensors"), context_length=512)
    model = await TransformersChatModel.load("small", settings)
    yield model
    await model.close()


@contextlib.asynccontextmanager
async def _onnx(folder: Path) -> AsyncIterator[ChatModel]:
    settings = OnnxSettings(type="onnx", path=str(folder / "onnx"), context_length=512)
    model = await OnnxChatModel.load("small", settings)
    yield model
    await model.close()


CONVERTED: dict[str, Callable[[Path], AbstractAsyncContextManager[ChatModel]]] = {
    "safetensors": _safetensors,
    "onnx": _onnx,
}


@pytest.fixture(params=[*MODELS, *CONVERTED, "remote"])
async def model(request: pytest.FixtureRequest) -> AsyncIterator[ChatModel]:
    """Return each implementation in turn."""
    opened: AbstractAsyncContextManager[ChatModel]
    if request.param == "remote":
        opened = _remote(request.getfixturevalue("llama_server"))
    elif request.param in CONVERTED:
        opened = CONVERTED[request.param](request.getfixturevalue("converted"))
    else:
        opened = MODELS[request.param]()
    async with opened as made:
        yield made


async def _say(model: ChatModel, text: str) -> str:
    return await said_by(model.stream(_ask(text), GenerateOptions(max_tokens=12)))


async def test_an_answer_comes_in_pieces_of_text(model: ChatModel) -> None:
    """Pieces joined are the answer, none is empty, and the last thing tells what it cost."""
    events = [event async for event in model.stream(Prompt(messages=HELLO), GenerateOptions(max_tokens=12))]

    *pieces, end = events
    assert len(pieces) > 1
    assert all(isinstance(piece, Text) and piece.text for piece in pieces)
    assert isinstance(end, End)
    assert end.prompt_tokens == model.count_tokens(HELLO)
    assert 0 < end.answer_tokens <= 12


async def test_temperature_0_says_the_same_twice(model: ChatModel) -> None:
    """The same prompt gives the same answer."""
    assert await _say(model, "Name a city of France.") == await _say(model, "Name a city of France.")


async def test_max_tokens_bounds_the_answer(model: ChatModel) -> None:
    """No more pieces come than tokens were allowed."""
    events = [event async for event in model.stream(Prompt(messages=HELLO), GenerateOptions(max_tokens=2))]

    assert len(events) <= 3
    assert isinstance(end := events[-1], End)
    assert (end.reason, end.answer_tokens) == ("length", 2)


async def test_a_prompt_that_does_not_fit_is_refused_with_its_size(model: ChatModel) -> None:
    """The error names the limit and what was needed, and the model goes on."""
    long = _ask("word " * 600)

    with pytest.raises(ContextWindowExceeded) as caught:
        await anext(model.stream(long, GenerateOptions(max_tokens=10)))

    assert caught.value.limit == model.context_length
    assert caught.value.needed == model.count_tokens(long.messages) + 10
    assert await _say(model, "Hello there.")


async def test_a_longer_text_counts_more_tokens(model: ChatModel) -> None:
    """Counting sees every message."""
    one, two = (model.count_tokens(HELLO[:number]) for number in (1, 2))

    assert 0 < one < two


async def test_a_closed_iterator_leaves_the_model_free(model: ChatModel) -> None:
    """After an answer was given up the next one comes."""
    async with aclosing(model.stream(Prompt(messages=HELLO), GenerateOptions(max_tokens=400))) as pieces:
        await anext(pieces)

    async with asyncio.timeout(60):
        assert await _say(model, "Hello there.")


async def test_many_prompts_at_once_are_each_answered_as_alone(model: ChatModel) -> None:
    """Answers that are generated at the same time do not mix."""
    texts = [f"Say the number {number}." for number in range(6)]
    alone = [await _say(model, text) for text in texts]

    assert await asyncio.gather(*(_say(model, text) for text in texts)) == alone
    told = await model.statistics()
    # Where another server computes nobody knows its steps.
    assert told.step_requests > told.steps or not told.steps
