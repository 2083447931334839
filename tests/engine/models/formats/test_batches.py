"""Answers of safetensors models that are computed together."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from engine.models.base import ChatMessage, End, GenerateOptions, Prompt, Text
from engine.models.stepping import Place
from engine.models.torch_adapters import SharedModel
from engine.models.torch_rows import RowComputer, TorchWeights
from engine.models.torch_single import SingleComputer
from engine.models.torch_weights import open_computer, open_model
from engine.models.transformers_model import TransformersChatModel
from hub.errors import OptionRefused
from hub.model_settings import SafetensorsSettings
from tests.engine.models.formats.small import ask, llama_config, load, say, write_model

TEXTS = ("one", "a longer question, so that its row is a longer one too", "two words", "x " * 40)
TOKENS = ([5, 9, 300], [7, 8, 1000, 11, 12, 13, 14, 15, 16, 17], [40, 41])


def _open(folder: Path) -> Any:
    settings = SafetensorsSettings(type="safetensors", path=str(folder), threads=1, device="cpu")
    return open_computer(settings, open_model(settings))


def _greedy(computer: Any, prompts: tuple[list[int], ...], count: int) -> list[list[int]]:
    """Continue prompts; each one begins while those before it are under way."""
    places: list[Place] = []
    for prompt in prompts:
        place = Place(list(prompt), 0, 200)
        while (computed := computer.read(place)) is None:
            pass
        place.tokens.append(computed.likeliest)
        places.append(place)
        _advance(computer, places)
    while min(len(place.tokens) - len(prompt) for place, prompt in zip(places, prompts, strict=True)) < count:
        _advance(computer, places)
    for place in places:
        computer.drop(place)
    return [place.tokens[len(prompt) :][:count] for place, prompt in zip(places, prompts, strict=True)]


def _advance(computer: Any, places: list[Place]) -> None:
    for computed in computer.advance(places):
        computed.place.tokens.append(computed.likeliest)


def _expected(folder: Path, prompts: tuple[list[int], ...], count: int) -> list[list[int]]:
    """Return what transformers itself generates for each prompt alone."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    found = []
    for prompt in prompts:
        tokens = list(prompt)
        with torch.inference_mode():
            for _ in range(count):
                tokens.append(int(model(torch.tensor([tokens]), use_cache=False).logits[0, -1].argmax()))
        found.append(tokens[len(prompt) :])
    return found


def test_rows_give_what_transformers_gives(tiny: Path) -> None:
    """Prompts of unlike length that begin one after another are continued as each alone."""
    computer = _open(tiny)

    assert isinstance(computer, RowComputer)
    assert _greedy(computer, TOKENS, 20) == _expected(tiny, TOKENS, 20)


def test_rows_outgrow_their_room(tiny: Path) -> None:
    """A row that comes to be longer than there was room for, beside short ones, loses nothing."""
    prompts = (list(range(100, 350)), [5, 6], list(range(1000, 1240)))

    assert _greedy(_open(tiny), prompts, 30) == _expected(tiny, prompts, 30)


def test_sliding_windows_are_kept(tmp_path: Path, converted: Path) -> None:
    """A model whose attention reaches back a few tokens only is computed in rows all the same."""
    config = MistralConfig(**{**llama_config().to_dict(), "model_type": "mistral", "sliding_window": 6})
    folder = write_model(tmp_path, MistralForCausalLM(config), converted / "safetensors")
    computer = _open(folder)

    assert isinstance(computer, RowComputer)
    assert _greedy(computer, TOKENS, 12) == _expected(folder, TOKENS, 12)


def test_models_without_keys_and_values_are_computed_one_by_one(tmp_path: Path, converted: Path) -> None:
    """A state space model keeps its state for each answer."""
    config = MambaConfig(vocab_size=49152, hidden_size=32, num_hidden_layers=2, state_size=4, eos_token_id=2)
    folder = write_model(tmp_path, MambaForCausalLM(config), converted / "safetensors")
    computer = _open(folder)

    assert isinstance(computer, SingleComputer)
    assert _greedy(computer, TOKENS, 6) == _expected(folder, TOKENS, 6)


def test_dropped_rows_leave_nothing_behind(tiny: Path) -> None:
    """After rows were dropped in the middle, others take their place and are right."""
    computer = _open(tiny)
    places = [Place(list(tokens), 0, 100) for tokens in TOKENS]
    for place in places:
        computed = computer.read(place)
        place.tokens.append(computed.likeliest)

    computer.drop(places[0])
    _advance(computer, places[1:])
    for place in places[1:]:
        computer.drop(place)

    assert [place.tokens[len(tokens) :] for place, tokens in zip(places[1:], TOKENS[1:], strict=True)] == (
        _expected(tiny, TOKENS[1:], 2)
    )
    assert _greedy(computer, TOKENS, 3) == _expected(tiny, TOKENS, 3)


async def test_answers_together_are_those_alone(model: TransformersChatModel) -> None:
    """Requests that come at any time join the others."""
    alone = [await say(model, text, 16) for text in TEXTS]

    assert await asyncio.gather(*(say(model, text, 16) for text in TEXTS)) == alone


async def test_more_requests_than_rows_wait_their_turn(tiny: Path) -> None:
    """All are answered, two at a time."""
    model = await load(tiny, parallel=2)
    alone = [await say(model, text) for text in TEXTS]

    assert await asyncio.gather(*(say(model, text) for text in TEXTS * 2)) == alone * 2
    await model.close()


async def test_a_given_up_answer_ends(model: TransformersChatModel) -> None:
    """Its row is free before the next token."""
    prompt = Prompt(messages=(ChatMessage(role="user", text="Go on."),))
    options = GenerateOptions(max_tokens=150, ignore_end=True)

    async with aclosing(model.stream(prompt, options)) as events:
        await anext(events)
        assert (await model.statistics()).running == 1
    said = await say(model, "And then?", 3)

    assert said
    assert (await model.statistics()).running == 0
    assert (await model.statistics()).answer_tokens < 150


async def test_what_all_prompts_share_is_computed_once(model: TransformersChatModel) -> None:
    """The second prompt with the same first messages says so, and is answered as before."""
    shared = ChatMessage(role="system", text="You answer in one sentence, " * 6)
    prompt = Prompt(messages=(shared, ChatMessage(role="user", text="Why?")), shared=1)
    answers = []

    for _ in range(2):
        events = [event async for event in model.stream(prompt, GenerateOptions(max_tokens=8))]
        answers.append(("".join(event.text for event in events if isinstance(event, Text)), events[-1]))

    (first, cold), (second, warm) = answers
    assert first == second
    assert isinstance(cold, End)
    assert isinstance(warm, End)
    assert cold.cached_tokens == 0
    assert warm.cached_tokens > 24


async def test_chance_follows_the_seed(model: TransformersChatModel) -> None:
    """The same seed draws the same tokens, also beside others; another one draws others."""
    options = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}

    first, again, other = await asyncio.gather(
        *(say(model, "Name a colour.", 12, seed=seed, **options) for seed in (1, 1, 2))
    )

    assert first == again
    assert first != other


async def test_options_bend_what_is_said(model: TransformersChatModel) -> None:
    """A biased token is always taken, a stop string ends the answer, ignored ends do not."""
    assert await say(model, "Speak.", 4, logit_bias=((504, 1000.0),)) == "The" * 4
    assert await say(model, "Speak.", 9, logit_bias=((504, 1000.0),), stop=("TheThe",)) == ""
    assert (await ask(model, "Speak.", 9, ignore_end=True))[1].answer_tokens == 9


async def test_grammars_are_refused(model: TransformersChatModel) -> None:
    """Another type of model can keep to them."""
    with pytest.raises(OptionRefused, match="GGUF"):
        await say(model, "Speak.", grammar='root ::= "a"')
    with pytest.raises(OptionRefused, match="GGUF"):
        await say(model, "Speak.", json_schema="{}")


def test_a_model_without_a_cache_is_computed_anew(tiny: Path) -> None:
    """Each token costs a pass over all before it, and is the right one."""
    weights = TorchWeights(SharedModel(AutoModelForCausalLM.from_pretrained(tiny)), vocabulary_size=49152)

    assert _greedy(SingleComputer(weights, parallel=4, keeps=False), TOKENS, 4) == _expected(tiny, TOKENS, 4)
