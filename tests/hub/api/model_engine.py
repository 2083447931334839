"""An engine made of the real worker, whose models are a few words of code: for what clients see of models."""

import asyncio
import base64
import struct
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from connectors.api import ApiConnector
from engine.answering import Answering
from engine.answers import Answer, Recollection, TextSink, TurnStats
from engine.direct import DirectAnswers
from engine.memory.conversation import ConversationMemory
from engine.models.base import (
    ANYBODY,
    GenerateEvent,
    GenerateOptions,
    Prompt,
    Requester,
    Text,
    Waiting,
)
from engine.worker import Worker
from hub.bus.bus import INBOUND, outbound, parse_outbound
from hub.bus.calls import serve
from hub.bus.connection import connect_reader
from hub.bus.consumer import ConsumerOptions
from hub.bus.control import Control
from hub.bus.heartbeat import beat
from hub.bus.queue import Commit, Lease
from hub.errors import ModelBusy, ModelError, OptionRefused
from hub.messages import InboundMessage, Source
from hub.model_states import ModelState
from hub.people import People
from hub.settings import EngineSettings, KeySettings
from tests.hub.api.serving import Api, RecordedProgress
from tests.models import EchoModel, LoadedModels

SOURCE = Source(number=1, title="Guide", location="guide.md", quote="Start it.", score=0.8)
EMBEDDING_MODEL = "all-MiniLM-L6-v2"
DIMENSION = 4


class SlowModel(EchoModel):
    """Says the first word, and the others once it is let go on."""

    def __init__(self) -> None:
        super().__init__(name="slow")
        self.may_go_on = asyncio.Event()
        self.has_begun = asyncio.Event()
        self.was_stopped = asyncio.Event()

    async def stream(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
    ) -> AsyncGenerator[GenerateEvent]:
        """Wait after the first piece of text."""
        is_first = True
        try:
            async for event in super().stream(prompt, options, requester):
                yield event
                if is_first and isinstance(event, Text):
                    is_first = False
                    self.has_begun.set()
                    await self.may_go_on.wait()
        except (GeneratorExit, asyncio.CancelledError):
            self.was_stopped.set()
            raise


class StubbornModel(EchoModel):
    """Refuses whatever shapes an answer."""

    def __init__(self) -> None:
        super().__init__(name="stubborn")

    async def stream(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
    ) -> AsyncGenerator[GenerateEvent]:
        """Refuse a schema."""
        if options.json_schema:
            raise OptionRefused("this model knows no schemas")
        async for event in super().stream(prompt, options, requester):
            yield event


class CrowdedModel(EchoModel):
    """Takes nothing while it is crowded; later it tells a wait before it begins."""

    def __init__(self) -> None:
        super().__init__(name="crowded")
        self.is_crowded = True
        self.refused = 0

    async def stream(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
    ) -> AsyncGenerator[GenerateEvent]:
        """Refuse, or wait."""
        if self.is_crowded:
            self.refused += 1
            raise ModelBusy(1.5)
        yield Waiting(wait_s=12.3)
        async for event in super().stream(prompt, options, requester):
            yield event


class EchoAssistant:
    """Says what it was asked, and what it remembers."""

    def __init__(self) -> None:
        self.recollections: list[Recollection] = []

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Answer with a source."""
        self.recollections.append(recollection)
        answer = f"You said: {message.text}"
        await text.add(answer[:5])
        await text.add(answer[5:])
        stats = TurnStats(model="echo", prompt_tokens=7, answer_tokens=3, total_ms=20)
        return Answer(kind="answer", text=answer, sources=(SOURCE,), stats=stats)


class ModelEngine:
    """Works on the messages of a server, with the models `echo`, `slow`, `stubborn` and `crowded`."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.echo, self.slow, self.stubborn = EchoModel(context_length=64), SlowModel(), StubbornModel()
        self.crowded = CrowdedModel()
        self.assistant = EchoAssistant()
        self.seen: list[InboundMessage] = []
        self.states = [
            ModelState(
                name=name, type="gguf", context_length=64, roles=roles, error="", path="/models/x.gguf"
            )
            for name, roles in (("echo", ("general",)), ("slow", ()), ("stubborn", ()))
        ]

    async def start(self) -> None:
        """Begin to work; returns once orders are heard."""
        parts, stop, tasks = self._api.parts, self._api.stop, self._api.tasks
        bus = parts.bus
        role = EchoModel(name="general", context_length=64)
        models = LoadedModels(self.echo, self.slow, self.stubborn, self.crowded, role)
        direct = DirectAnswers(models, engine=EngineSettings(), tiers=KeySettings().tiers)
        worker = Worker(
            bus, parts.live, _Seeing(self, Answering(self.assistant, direct)),
            memory=ConversationMemory(bus, People(bus.redis), history_turns=50, recalled_turns=6),
            turn_timeout_s=60,
        )  # fmt: skip
        options = ConsumerOptions(concurrency=64, drain_timeout_s=1, backoff_s=0.01)
        consumers = bus.consumers(INBOUND, handle=worker.handle, bury=worker.bury, options=options)
        connector = ApiConnector(parts.live)

        async def deliver(lease: Lease) -> Commit:
            await connector.send(parse_outbound(lease.body), RecordedProgress())
            return Commit()

        consumers += bus.consumers(outbound("api"), handle=deliver, bury=deliver, options=options)
        for consumer in consumers:
            tasks.create_task(consumer.run(stop))
        control = Control(bus.redis, connect_reader(bus.url))
        control.listen(worker.obey)
        tasks.create_task(control.run(stop))
        tasks.create_task(beat(bus.redis, "engine", stop))
        services = {"models": self._models, "embed": self._embed}
        tasks.create_task(serve(bus.redis, connect_reader(bus.url), services, stop))
        await control.ready.wait()

    async def _models(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        wanted = {"load": "loaded", "unload": "unloaded"}.get(request["action"])
        if request.get("model") == "stubborn":
            raise ModelError("there is no memory for stubborn")
        if wanted:
            self.states = [
                state.model_copy(update={"state": wanted})
                if request["model"] in (state.name, *state.roles)
                else state
                for state in self.states
            ]
        return {"models": [state.model_dump(mode="json") for state in self.states]}

    async def _embed(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        texts = request["texts"]
        rows = [struct.pack("<4f", len(text), 0.5, 0.25, 0.125) for text in texts]
        return {
            "model": EMBEDDING_MODEL,
            "dimension": DIMENSION,
            "vectors": [base64.b64encode(row).decode() for row in rows],
            "tokens": sum(len(text.split()) for text in texts),
        }


class _Seeing:
    """Remembers the messages it passes on."""

    def __init__(self, engine: ModelEngine, answers: Answering) -> None:
        self._engine = engine
        self._answers = answers

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Pass it on."""
        self._engine.seen.append(message)
        return await self._answers.answer(message, recollection, text)
