"""One turn: recall, retrieve, compose, generate, check. What is done with the answer is the worker's business."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Literal, Protocol

import structlog

from engine import replies
from engine.answers import Answer, Recollection, Route, TextSink, TurnStats
from engine.attachments import attachment_passages, told_of_files
from engine.citations import CitedText, Claim
from engine.commands import chosen_model, fixed_answer
from engine.documents import (
    quoted_opening,
    quoted_section,
    quoted_sentences,
    quoted_steps,
    retold,
    section_headed_by,
)
from engine.evidence import (
    RememberedEmbeddings,
    Statement,
    is_answer_to_foreign,
    is_answered_by,
    weigh_statements,
    without_common_words,
)
from engine.generation import Generator
from engine.grounding import Check, nearest_to
from engine.guard.injection import addressed_to_model, for_the_model
from engine.languages import Foreign, foreign_question
from engine.memory.facts import in_second_person
from engine.memory.finding import FactFinder
from engine.memory.recall import facts_for, says_fact
from engine.memory.summary import Summary
from engine.memory.talk import told_of_talk
from engine.models.base import ModelProvider
from engine.notices import notices, worth_answering
from engine.profiles import profile_of
from engine.questions import (
    MAX_QUESTIONS,
    Reading,
    asks_about_talk,
    asks_what_it_is,
    first_sentence,
    fits_reading,
    is_ellipsis,
    is_how_to,
    is_question,
    is_yes_or_no,
    previous_question,
    questions_of,
    readings,
    replied_to,
)
from engine.readers import Readers
from engine.requesters import requester_of
from engine.symbolic import Computed, compute
from hub.errors import ModelBusy, ModelUnavailable, UnknownModel
from hub.memory_settings import MemorySettings
from hub.messages import InboundMessage, Turn
from hub.model_registry import ModelRegistry
from hub.settings import EngineSettings, KnowledgeSettings, TierSettings
from knowledge.passages import Passage, Retriever

log = structlog.get_logger(__name__)

__all__ = ["Answer", "Assistant", "Recollection", "TextSink", "TurnStats"]

_MOST_READ = 8
"""Questions of one message that are looked at; those beyond `MAX_QUESTIONS` are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """What all questions of one message share."""

    message: InboundMessage
    facts: Mapping[str, str]
    """Remembered, and told in this very message."""
    turns: Sequence[Turn]
    summary: Summary
    generator: Generator

    @property
    def previous(self) -> str:
        """The question that was replied to, else the last one that was answered."""
        return replied_to(self.message.quoted, self.turns) or previous_question(self.turns)

    @property
    def previous_answer(self) -> str:
        """What was answered last, and the sentences it rested on."""
        last = next((turn for turn in reversed(self.turns) if turn.kind == "answer"), None)
        return " ".join([last.answer, *(source.quote for source in last.sources)]) if last else ""

    @property
    def quoted(self) -> str:
        """What a reply is about, where it carries along what it replies to."""
        return first_sentence(self.message.quoted)


class Models(ModelProvider, Protocol):
    """The models an assistant may choose from."""

    registry: ModelRegistry


class Assistant:
    """Answers messages; any number of turns at once."""

    def __init__(
        self,
        models: Models,
        retriever: Retriever,
        *,
        engine: EngineSettings,
        knowledge: KnowledgeSettings,
        tiers: Mapping[str, TierSettings],
        memory: MemorySettings | None = None,
        readers: Readers | None = None,
    ) -> None:
        self._readers = readers or Readers()
        self._finder = FactFinder(models, memory or MemorySettings(), engine=engine, tiers=tiers)
        self._models = models
        self._engine = engine
        self._tiers = tiers
        self._retriever = RememberedEmbeddings(retriever)
        self._knowledge = knowledge

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Answer one message.

        Args:
            message: what was written: its text and attachments; what it quotes only tells what a reply is about.
            recollection: what was said and learned before.
            text: is shown the answer piece by piece, each once it is certain: together they are the returned text.

        Raises:
            ModelBusy: so much waits for the model that it takes nothing more for now.
            ModelError, KnowledgeError, BusError: the model, the documents or who reads them cannot be reached.
        """
        stats = TurnStats()
        started = perf_counter()
        try:
            stats.model = self._model_for(message, recollection)
            answer = await self._answer(message, recollection, text, stats)
        except UnknownModel as error:
            answer = Answer(kind="error", code="model_not_found", text=str(error), stats=stats)
            await text.add(answer.text)
        if (told := told_of_files(message.attachments)) and stats.route != "command":
            await text.add(f"\n\n{told}")
            answer = replace(answer, text=f"{answer.text}\n\n{told}")
        stats.total_ms = _ms_since(started)
        return answer

    async def _answer(
        self, message: InboundMessage, recollection: Recollection, sink: TextSink, stats: TurnStats
    ) -> Answer:
        if fixed := fixed_answer(message, recollection, self._models.registry, stats):
            await sink.add(fixed.text)
            return fixed
        proofs = await self._finder.changes(message, recollection, stats.model)
        learned = {key: change.text for key, change in proofs.items()}
        asked = worth_answering(questions_of(message.text, most=_MOST_READ))
        if learned and not any(is_question(question) for question in asked):
            stats.route = "memory"
            text = replies.acknowledgement(learned)
            await sink.add(text)
            return Answer(kind="answer", text=text, facts=learned, proofs=proofs, stats=stats)
        scene = _Scene(
            message=message,
            facts={**recollection.facts, **learned},
            turns=recollection.turns,
            summary=recollection.summary,
            generator=self._generator(message, stats.model, sink, recollection.style.instruction()),
        )
        cited = CitedText(sink)
        routes: list[Route] = []
        code = ""
        for question in asked[:MAX_QUESTIONS]:
            try:
                routes.append(await self._part(question, scene, cited, stats))
            except ModelUnavailable as error:
                log.error("model_unavailable", model=stats.model, error=str(error))
                code = "model_unavailable"
                break
            await cited.end_paragraph()
        stats.chunks = cited.chunk_ids()
        answered = [route for route in routes if route != "unknown"]
        for notice in notices(asked, routes, is_broken_off=bool(code)):
            await cited.end_paragraph()
            await cited.add(Claim(notice))
        stats.route = answered[-1] if answered else "unknown"
        kind: Literal["answer", "notice", "error"] = "error" if code else "notice"
        return Answer(
            kind="answer" if answered else kind,
            code="" if answered else code,
            text=cited.text,
            sources=cited.sources(),
            facts=learned,
            proofs=proofs,
            unanswered=tuple(text for text, route in zip(asked, routes, strict=False) if route == "unknown"),
            stats=stats,
        )

    def _model_for(self, message: InboundMessage, recollection: Recollection) -> str:
        registry = self._models.registry
        return registry.resolve(message.model) if message.model else chosen_model(recollection, registry)

    def _generator(self, message: InboundMessage, name: str, sink: TextSink, style: str) -> Generator:
        return Generator(
            partial(self._models.use, name),
            profile_of(self._models.registry.settings_of(name)),
            self._engine,
            requester=requester_of(message, tiers=self._tiers, channels_weight=self._engine.channels_weight),
            tell_waiting=sink.waiting,
            style=style,
        )

    async def _part(self, question: str, scene: _Scene, cited: CitedText, stats: TurnStats) -> Route:
        """Answer one question from memory, else from the documents; write nothing where neither tells."""
        if wanted := asks_about_talk(question):
            await cited.add(Claim(told_of_talk(wanted, scene.summary, scene.turns), is_block=True))
            return "memory"
        if computed := compute(question, scene.message.received_at, scene.message.language):
            await cited.add(await self._computed(question, computed, scene, stats))
            return "computed"
        if told := await facts_for(self._retriever, question, scene.facts):
            stats.fact_keys += [key for key, fact in scene.facts.items() if fact in told]
            await cited.add(await self._told(question, told, scene, stats))
            return "memory"
        wants_steps = is_how_to(question) or (is_ellipsis(question) and is_how_to(scene.previous))
        if (foreign := foreign_question(question)) and (
            quoted := await self._quoted_for_foreign(foreign, scene, stats)
        ):
            for claim in quoted:
                await cited.add(claim)
            return "quote"
        reading, statements = await self._statements(question, scene, stats, wants_code=wants_steps)
        if not statements:
            return "unknown"
        stats.flagged += sum(addressed_to_model(s.plain) for s in statements if s.passage.chunk_id >= 0)
        is_open = reading.is_merged and not reading.added
        if quoted := _quoted(question, statements, wants_steps=wants_steps, is_open=is_open):
            for claim in quoted:
                await cited.add(claim)
            return "quote"
        return await self._from_documents(
            question, statements, scene, cited, stats, goes_on=reading.is_merged
        )

    async def _told(self, question: str, facts: list[str], scene: _Scene, stats: TurnStats) -> Claim:
        generated = await scene.generator.text(question, facts, stats)
        if any(says_fact(generated, fact, question) for fact in facts):
            return Claim(generated)
        return Claim(" ".join(in_second_person(fact) for fact in facts))

    async def _computed(self, question: str, computed: Computed, scene: _Scene, stats: TurnStats) -> Claim:
        """Let the model tell a result; where it tells another one, the calculation stands for itself."""
        try:
            generated = await scene.generator.text(question, [computed.sentence], stats)
        except (ModelUnavailable, ModelBusy):
            return Claim(computed.sentence)
        return Claim(generated if computed.is_told_by(generated, question) else computed.sentence)

    async def _quoted_for_foreign(
        self, foreign: Foreign, scene: _Scene, stats: TurnStats
    ) -> tuple[Claim, ...]:
        """Quote what a question in another language is about; nothing where that cannot be told."""
        with stats.retrieving():
            passages = await self._passages(foreign.english, scene)
            statements = await weigh_statements(self._retriever, foreign.english, passages)
        if not is_answer_to_foreign(foreign.content, statements, self._knowledge.min_score):
            return ()
        if is_how_to(foreign.english):
            return quoted_steps(statements) or quoted_section(statements)
        return quoted_sentences(statements)

    async def _statements(
        self, question: str, scene: _Scene, stats: TurnStats, *, wants_code: bool
    ) -> tuple[Reading, list[Statement]]:
        """Find what the answer may rest on, and how the question is read for it; nothing where no document tells."""
        with stats.retrieving():
            ways = readings(question, scene.previous, scene.quoted)
            for reading in ways:
                passages = await self._passages(reading.text, scene)
                stats.best_score = max([stats.best_score, *(passage.score for passage in passages)])
                weighed = await weigh_statements(self._retriever, reading.text, passages)
                code = [s for s in weighed if s.block.kind == "code" and not wants_code]
                told = [s for s in weighed if s not in code]
                if is_yes_or_no(question):
                    told.sort(key=lambda s: s.is_hypothetical)
                headed = section_headed_by(reading.text, told)
                fitting = headed + [
                    s
                    for s in _fitting(told, reading, scene.previous_answer, in_context=wants_code)
                    if s not in headed
                ]
                if is_answered_by(reading.text, fitting, self._knowledge.min_score):
                    # What a sentence introduces is quoted with it, and may be code.
                    return reading, fitting + code
            return ways[-1], []

    async def _passages(self, question: str, scene: _Scene) -> list[Passage]:
        k = self._knowledge.passages
        attached = await attachment_passages(self._retriever, question, scene.message.attachments, k)
        # A passage may lie farther from the question than others and still hold the sentence that answers it.
        reader = await self._readers.of(scene.message)
        found = await self._retriever.search(question, 2 * k, reader)
        if rest := without_common_words(question, found):
            known = {passage.chunk_id for passage in found}
            more = await self._retriever.search(rest, k, reader)
            found = found + [passage for passage in more if passage.chunk_id not in known]
        return attached + found

    async def _from_documents(
        self,
        question: str,
        statements: list[Statement],
        scene: _Scene,
        cited: CitedText,
        stats: TurnStats,
        *,
        goes_on: bool,
    ) -> Route:
        """Let the model answer in the question's terms, and write each sentence that passes the check.

        Args:
            goes_on: whether the question goes on from an earlier one; then the model is shown what was said.
        """
        near = for_the_model(retold(statements))
        check = Check(question, near)
        facts = [statement.plain for statement in near]
        is_answered, refused = False, ""
        generated = scene.generator.sentences(
            question,
            facts,
            stats,
            turns=scene.turns if goes_on else (),
            summary=scene.summary if goes_on else None,
            may_go_on=check.may_go_on,
        )
        async with aclosing(generated) as sentences:
            async for sentence in sentences:
                started = perf_counter()
                statement = check.bearer_of(sentence)
                stats.check_ms += _ms_since(started)
                if statement:
                    is_answered = True
                    await cited.add(Claim(sentence, (statement,)))
                else:
                    refused = refused or sentence
        if is_answered:
            return "documents"
        # The model's words do not count, but what it looked at does.
        nearest = nearest_to(refused, question, near)
        for claim in quoted_sentences([nearest, *(s for s in statements if s is not nearest)]):
            await cited.add(claim)
        return "quote"


def _quoted(
    question: str, statements: Sequence[Statement], *, wants_steps: bool, is_open: bool
) -> tuple[Claim, ...]:
    """Quote instructions and what decides yes or no; nothing where the model may say it in the question's terms."""
    if wants_steps:
        return quoted_steps(statements) or quoted_section(statements)
    if headed := section_headed_by(question, statements):
        # Who wrote the heading has written the answer: nothing of it is to be lost in other words.
        return quoted_opening(headed)
    if (
        is_open
        or is_yes_or_no(question)
        or asks_what_it_is(question)
        or not for_the_model(retold(statements))
    ):
        return quoted_sentences(statements)
    return ()


def _fitting(
    statements: Sequence[Statement], reading: Reading, said: str, *, in_context: bool
) -> list[Statement]:
    """Keep the statements that fit how a question is read; in context, the others of their passages behind them."""
    fitting = [s for s in statements if fits_reading(s.plain, s.passage.heading, reading, said)]
    passages = [s.passage for s in fitting if in_context]
    return fitting + [s for s in statements if s not in fitting and s.passage in passages]


def _ms_since(started: float) -> float:
    return (perf_counter() - started) * 1000
