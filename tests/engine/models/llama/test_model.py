"""The bundled model by llama.cpp: its file, its tokens, its thread."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from engine.models.base import ANYBODY, ChatMessage, End, GenerateOptions, Prompt, Requester, Waiting
from engine.models.llama.model import LlamaChatModel
from engine.models.registry import load_model
from hub.errors import ModelError, SettingsError
from hub.model_settings import GgufSettings
from tests.models import said_by

SHORT = GenerateOptions(max_tokens=16)


def _ask(text: str) -> Prompt:
    return Prompt(
        messages=(ChatMessage(role="system", text="Be brief."), ChatMessage(role="user", text=text))
    )


async def _say(model: LlamaChatModel, text: str, options: GenerateOptions = SHORT) -> str:
    return await said_by(model.stream(_ask(text), options))


async def _end(
    model: LlamaChatModel, prompt: Prompt, options: GenerateOptions = SHORT, requester: Requester = ANYBODY
) -> End:
    *_, end = [event async for event in model.stream(prompt, options, requester)]
    assert isinstance(end, End)
    return end


@pytest.mark.parametrize("special", ["<|im_end|>", "<|im_start|>", "<|endoftext|>", "[INST]", "<s>"])
def test_a_typed_special_token_stays_text(llama: LlamaChatModel, special: str) -> None:
    """What a person types costs as many tokens as its spelling and closes no message."""
    plain = llama.count_tokens(_ask("a  b").messages)

    assert llama.count_tokens(_ask(f"a {special} b").messages) > plain + 1


@pytest.mark.parametrize("text", ["ओमदीप", "李明 👩‍👩‍👧 Ω", "\x00\x07", "\ud800", "", "ا" * 300])
async def test_any_text_is_taken(llama: LlamaChatModel, text: str) -> None:
    """Scripts, emoji, control characters, lone surrogates and nothing at all are answered, in whole characters."""
    answer = await _say(llama, text)

    assert answer.encode("utf-8")


async def test_a_stop_string_ends_the_answer_before_it(llama: LlamaChatModel) -> None:
    """Nothing of the stop string is delivered."""
    whole = await _say(llama, "Count from one to five.", GenerateOptions(max_tokens=40))
    stop = whole.split()[2]

    cut = await _say(llama, "Count from one to five.", GenerateOptions(max_tokens=40, stop=(stop,)))

    assert stop not in cut
    assert whole.startswith(cut)


async def test_a_seed_decides_a_sampled_answer(llama: LlamaChatModel) -> None:
    """Sampling with the same seed gives the same text."""
    options = GenerateOptions(max_tokens=16, temperature=0.9, seed=7)

    assert await _say(llama, "Tell a story.", options) == await _say(llama, "Tell a story.", options)


async def test_a_prompt_given_up_is_not_computed_to_its_end(llama: LlamaChatModel) -> None:
    """Cancelling stops the model in the middle of a prompt."""
    requester = Requester(audience="one who goes away")
    prompt = _ask("Some words that fill the prompt. " * 230)
    task = asyncio.ensure_future(anext(llama.stream(prompt, SHORT, requester)))
    async with asyncio.timeout(60):
        while (await llama.statistics()).running == 0:
            await asyncio.sleep(0.01)

        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while (await llama.statistics()).running > 0:
            await asyncio.sleep(0.01)
        again = await _end(llama, prompt, GenerateOptions(max_tokens=1), requester)

    assert again.cached_tokens < again.prompt_tokens - 1


async def test_a_request_cancelled_while_it_waits_is_never_begun() -> None:
    """Nothing of its prompt is computed, and the one after it is answered."""
    model = await LlamaChatModel.load("small", GgufSettings(context_length=256, parallel=1))
    async with asyncio.timeout(60):
        first = model.stream(_ask("Write a long story."), GenerateOptions(max_tokens=200, ignore_end=True))
        async with aclosing(first):
            await anext(first)
            second = model.stream(_ask("And another."), SHORT)
            async with aclosing(second):
                assert isinstance(await anext(second), Waiting)
            while (await model.statistics()).waiting:
                await asyncio.sleep(0.01)

        assert await _say(model, "Hi")
        counts = [model.count_tokens(_ask(text).messages) for text in ("Write a long story.", "Hi")]
        told = await model.statistics()
    await model.close()

    assert told.prompt_tokens == sum(counts)
    # One at a time: every step was for one request.
    assert told.step_requests == told.steps > 0


async def test_the_bundled_model_is_found_and_checked() -> None:
    """Without a path the registry loads the bundled file."""
    model = await load_model("small", {"small": GgufSettings(context_length=256)})

    assert model.name == "small"
    await model.close()


async def test_a_closed_model_refuses_instead_of_crashing() -> None:
    """Freed memory is never touched."""
    model = await LlamaChatModel.load("small", GgufSettings(context_length=256))
    await model.close()
    await model.close()

    with pytest.raises(ModelError, match="closed"):
        model.count_tokens(_ask("Hi").messages)


async def test_closing_waits_for_running_answers() -> None:
    """An answer that runs while the model is closed comes to its end."""
    model = await LlamaChatModel.load("small", GgufSettings(context_length=256))
    answer = asyncio.ensure_future(_say(model, "Name three colours."))
    await asyncio.sleep(0)

    await model.close()

    assert await answer


@pytest.mark.parametrize(
    ("content", "sha256", "expected"),
    [
        (None, "", "cannot be read"),
        (b"junk", "ab" * 32, "not the expected one"),
        (b"junk", "", "not a GGUF file"),
    ],
)
async def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes | None, sha256: str, expected: str
) -> None:
    """The error says which file and why, and llama.cpp writes nothing to the terminal."""
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ModelError, match=expected) as caught:
        await LlamaChatModel.load("broken", GgufSettings(path=str(path), sha256=sha256))

    assert str(path) in str(caught.value)
    assert "llama" not in capfd.readouterr().err


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "/etc/passwd", "SmolLM2"])
async def test_a_name_outside_of_the_registry_is_refused(name: str) -> None:
    """A name is looked up and never taken for a path."""
    with pytest.raises(SettingsError, match="not in the registry"):
        await load_model(name, {"smollm2-135m": GgufSettings()})


async def test_an_unknown_profile_is_refused() -> None:
    """The error lists the profiles there are."""
    with pytest.raises(SettingsError, match="smollm2"):
        await LlamaChatModel.load("small", GgufSettings(profile="nope"))
