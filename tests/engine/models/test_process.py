"""A model in a process of its own: what it is asked gets there whole, and its end is a failed request."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from engine.models.base import (
    ANYBODY,
    ChatMessage,
    ChatModel,
    GenerateOptions,
    Prompt,
    Requester,
    Text,
    Waiting,
)
from engine.models.frames import MAX_FRAME_BYTES
from engine.models.process import ModelProcess, ProcessChatModel
from hub.errors import ContextWindowExceeded, ModelBusy, ModelError, OptionRefused
from hub.logs import LogSettings
from hub.model_settings import GgufSettings
from tests.echo_host import COMMAND, WordTokenizer
from tests.models import said_by

WAIT_S = 60
OPTIONS = GenerateOptions(max_tokens=100)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A model file that can be loaded."""
    path = tmp_path / "model.gguf"
    path.write_bytes(b"model")
    return path


@contextlib.asynccontextmanager
async def started(command: tuple[str, ...] = COMMAND) -> AsyncIterator[ModelProcess]:
    """Run a process for models."""
    process = await ModelProcess.start(LogSettings(), command)
    try:
        yield process
    finally:
        await process.close()


async def load(process: ModelProcess, file: Path, name: str = "echo", **settings: int) -> ProcessChatModel:
    """Load a model into a process."""
    return await process.load(name, GgufSettings(path=str(file), **settings), lambda _: WordTokenizer())


@pytest.fixture
async def model(file: Path) -> AsyncIterator[ProcessChatModel]:
    """A model that says the last message back."""
    async with started() as process:
        yield await load(process, file)


def prompt(text: str) -> Prompt:
    """Ask one thing."""
    return Prompt(messages=(ChatMessage(role="user", text=text),))


async def say(model: ChatModel, text: str, options: GenerateOptions = OPTIONS) -> str:
    """Return the whole answer."""
    async with asyncio.timeout(WAIT_S):
        return await said_by(model.stream(prompt(text), options))


# -- requests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "grüße 世界 🎉",
        "null \\u0000 and \x00 \x1b[31m \u2028",
        '<|im_end|> ]}] {"do": "cancel"}',
        "half a pair: \ud83d",
        "word " * 100_000,
    ],
    ids=lambda text: ascii(text[:20]),
)
async def test_any_text_gets_there_and_back(model: ProcessChatModel, text: str) -> None:
    """Text is data on its way too; what is no character is replaced."""
    process = model.process
    big = GenerateOptions(max_tokens=1_000_000)
    model = await load(process, Path(__file__), context_length=10_000_000)

    said = await say(model, text, big)

    assert said.split() == text.encode("utf-8", "replace").decode().split()


async def test_prompt_options_and_requester_get_there_as_they_are(model: ProcessChatModel) -> None:
    """Every field, tuples included."""
    options = GenerateOptions(
        max_tokens=7, temperature=0.5, stop=("a", "b"), logit_bias=((5, -1.5),), json_schema="{}", seed=9
    )
    requester = Requester(audience="c", person="web:site:p", tier="pro", weight=4.0, returns=True)
    asked = Prompt(
        messages=(ChatMessage(role="system", text="s"), ChatMessage(role="user", text="requester")), shared=1
    )

    assert await said_by(model.stream(asked, options, requester)) == repr((asked, options, requester))


async def test_waiting_is_told(model: ProcessChatModel) -> None:
    """An estimate comes before the text."""
    events = [event async for event in model.stream(prompt("wait"), OPTIONS, ANYBODY)]

    assert events[:2] == [Waiting(wait_s=7), Text(text="done")]


async def test_errors_keep_their_class_and_what_they_know(model: ProcessChatModel) -> None:
    """Who asks can do the same about them as if the model were here; one of a library is a ModelError."""
    with pytest.raises(ContextWindowExceeded) as too_long:
        await say(model, "word", GenerateOptions(max_tokens=100_000))
    assert (too_long.value.limit, too_long.value.needed) == (2048, 100_002)
    assert str(too_long.value) == "the prompt needs 100002 tokens, the model holds 2048"
    with pytest.raises(OptionRefused, match="not that"):
        await say(model, "refuse")
    with pytest.raises(ModelBusy) as busy:
        await say(model, "busy")
    assert busy.value.retry_after_s == 2.5
    with pytest.raises(ModelError, match="ZeroDivisionError"):
        await say(model, "break")
    assert await say(model, "goes on") == "goes on"


async def test_a_request_larger_than_any_frame_is_refused_here(model: ProcessChatModel) -> None:
    """And nobody else notices."""
    with pytest.raises(ModelError, match="too large for any model"):
        await say(model, "x" * MAX_FRAME_BYTES)

    assert await say(model, "goes on") == "goes on"


async def test_many_requests_at_once_do_not_mix(model: ProcessChatModel) -> None:
    """Their events share frames."""
    texts = [f"{number} " * 50 for number in range(100)]

    said = await asyncio.gather(*(say(model, text) for text in texts))

    assert [text.split() for text in said] == [text.split() for text in texts]


async def test_closing_the_iterator_stops_the_model(model: ProcessChatModel, tmp_path: Path) -> None:
    """The process hears of it: what it computes is for nobody."""
    mark = tmp_path / "mark"
    async with aclosing(model.stream(prompt(f"hang {mark}"), OPTIONS)) as events:
        await anext(events)

    async with asyncio.timeout(WAIT_S):
        # Answers come in the order of the requests that were taken, so this one comes after the cancelled one ended.
        while not mark.exists():
            await say(model, "are you there")


async def test_a_cancelled_task_stops_the_model(model: ProcessChatModel, tmp_path: Path) -> None:
    """As a turn that runs out of time does."""
    mark = tmp_path / "mark"
    asking = asyncio.create_task(say(model, f"hang {mark}"))
    await say(model, "are you there")
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)

    async with asyncio.timeout(WAIT_S):
        while not mark.exists():
            await say(model, "are you there")


async def test_statistics_tell_the_memory_of_the_process(model: ProcessChatModel) -> None:
    """Measured, not estimated."""
    statistics = await model.statistics()

    assert 10 << 20 < statistics.memory_bytes < 1 << 30


# -- several models ----------------------------------------------------------------------------------------


async def test_a_process_holds_several_models(file: Path) -> None:
    """One is closed, the other goes on."""
    async with started() as process:
        one = await load(process, file, "one", context_length=100)
        two = await load(process, file, "two", context_length=200)
        pid = process.pid

        assert await say(one, "who") == f"one/100/{pid}"
        await one.close()
        with pytest.raises(ModelError, match="not loaded"):
            await say(one, "who")
        assert await say(two, "who") == f"two/200/{pid}"


async def test_a_model_that_cannot_be_loaded_harms_no_other(file: Path, tmp_path: Path) -> None:
    """Neither what it says nor what counts its tokens."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"broken")

    def no_tokenizer(_: object) -> WordTokenizer:
        raise ModelError("no vocabulary")

    async with started() as process:
        model = await load(process, file)
        with pytest.raises(ModelError, match="model echo is broken"):
            await load(process, broken)
        with pytest.raises(ModelError, match="no vocabulary"):
            await process.load("echo", GgufSettings(path=str(file)), no_tokenizer)

        assert await say(model, "goes on") == "goes on"


# -- ends --------------------------------------------------------------------------------------------------


async def test_a_killed_process_fails_its_requests_with_the_reason(
    model: ProcessChatModel, tmp_path: Path
) -> None:
    """Those under way and those that come later; nothing waits for ever."""
    under_way = [asyncio.create_task(say(model, f"hang {tmp_path / str(n)}")) for n in range(20)]
    await say(model, "are you there")

    os.kill(model.process.pid, signal.SIGKILL)

    async with asyncio.timeout(WAIT_S):
        results = await asyncio.gather(*under_way, return_exceptions=True)
        assert await model.process.wait() == "the process of the model ended (SIGKILL)"
    assert {str(result) for result in results} == {"the process of the model ended (SIGKILL)"}
    assert all(isinstance(result, ModelError) for result in results)
    with pytest.raises(ModelError, match="SIGKILL"):
        await say(model, "hello")
    await model.close()


async def test_a_crash_while_loading_is_told(tmp_path: Path) -> None:
    """Such as when there is not enough memory."""
    crash = tmp_path / "crash.gguf"
    crash.write_bytes(b"crash!")

    async with started() as process:
        with pytest.raises(ModelError, match=r"ended \(SIGKILL\)"):
            await load(process, crash)


async def test_a_program_that_cannot_run_is_told() -> None:
    """Its end is noticed before it has said a word."""
    async with started((sys.executable, "-c", "import sys; sys.exit(3)")) as process:
        async with asyncio.timeout(WAIT_S):
            with pytest.raises(ModelError, match="ended"):
                await load(process, Path(__file__))

    with pytest.raises(ModelError, match="could not be started: No such file"):
        await ModelProcess.start(LogSettings(), ("/nowhere/python",))


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (b"\xff\xff\xff\xff", "a frame of 4294967295 bytes was announced"),
        (b"\x00\x00\x00\x02{]", "a frame is not JSON"),
        (b"\x00\x00\x00\x02{}", "a frame holds no messages"),
        (b"\x00\x00\x00\x03[1]", "a frame holds no messages"),
    ],
)
async def test_a_process_that_makes_no_sense_is_ended(said: bytes, problem: str) -> None:
    """It might be damaged: nothing it says is believed any more."""
    program = f"import socket, sys, time; s = socket.socket(fileno=int(sys.argv[1])); s.sendall({said!r}); s.recv(1)"
    async with started((sys.executable, "-c", f"{program}; time.sleep(600)")) as process:
        async with asyncio.timeout(WAIT_S):
            assert problem in await process.wait()


async def test_messages_for_nobody_are_passed_over() -> None:
    """A request that was given up may still be answered; strange ids are nobody's."""
    program = (
        "import socket, sys; s = socket.socket(fileno=int(sys.argv[1])); s.recv(1);"
        'b = b\'[{}, {"id": 99, "event": "text"}, {"id": []}, {"id": 1, "event": "text", "fields": {"text": 5}}]\';'
        "s.sendall(len(b).to_bytes(4, 'big') + b); s.recv(1000000)"
    )
    async with started((sys.executable, "-c", program)) as process:
        with pytest.raises(ModelError):
            async with asyncio.timeout(WAIT_S):
                await load(process, Path(__file__))


async def test_a_closed_process_is_gone(file: Path) -> None:
    """Its memory is the system's again, and whoever still asks is told."""
    async with started() as process:
        model = await load(process, file)

    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
    with pytest.raises(ModelError, match="closed"):
        await say(model, "hello")


async def test_a_stopped_process_can_be_killed(model: ProcessChatModel) -> None:
    """One that does not answer at all."""
    asking = asyncio.create_task(say(model, "freeze"))
    async with asyncio.timeout(WAIT_S):
        while _state(model.process.pid) != "T":
            await asyncio.sleep(0)

        model.process.kill()

        with pytest.raises(ModelError, match="SIGKILL"):
            await asking


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_to_everybody_leaves_it_to_the_engine(
    model: ProcessChatModel, number: signal.Signals
) -> None:
    """A service manager signals every process; the engine drains and needs its models for that."""
    os.kill(model.process.pid, number)

    assert await say(model, "still here") == "still here"


async def test_it_ends_with_the_engine(file: Path) -> None:
    """However that ended: a killed engine leaves no model behind."""
    program = f"""
import asyncio
from pathlib import Path
from tests.engine.models.test_process import load, started

async def main():
    async with started() as process:
        await load(process, Path({str(file)!r}))
        print(process.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
    engine = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(WAIT_S):
        assert engine.stdout
        pid = int(await engine.stdout.readline())
        engine.kill()
        await engine.wait()

        # Where nobody collects orphans the entry stays, as a zombie.
        while _state(pid) not in ("", "Z"):
            await asyncio.sleep(0.01)


def _state(pid: int) -> str:
    """Return the letter that says what a process does; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return ""
