"""One turn: recall, retrieve, compose, generate, check. What is done with the answer is the worker's business."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter

from engine import replies
from engine.answers import Answer, Recollection, Route, TextSink, TurnStats
from engine.attachments import attachment_passages
from engine.citations import CitedText, Claim
from engine.documents import quoted_section, quoted_sentences, quoted_steps, relevant
from engine.evidence import RememberedEmbeddings, Statement, is_answered_by, weigh_statements
from engine.generation import Generator
from engine.grounding import Check
from engine.memory.facts import in_second_person, learn_facts
from engine.memory.recall import facts_for, says_fact
from engine.models.base import ChatModel
from engine.profiles import Profile
from engine.questions import (
    asks_about_own_life,
    follows_up,
    is_how_to,
    is_question,
    is_yes_or_no,
    needs_previous,
    previous_question,
    questions_of,
    readings,
)
from hub.messages import InboundMessage, Turn
from hub.settings import EngineSettings, KnowledgeSettings
from knowledge.passages import Passage, Retriever

__all__ = ["Answer", "Assistant", "Recollection", "TextSink", "TurnStats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """What all questions of one message share."""

    message: InboundMessage
    facts: Mapping[str, str]
    """Remembered, and told in this very message."""
    turns: Sequence[Turn]

    @property
    def previous(self) -> str:
        """The last question that was answered."""
        return previous_question(self.turns)


class Assistant:
    """Answers messages; any number of turns at once."""

    def __init__(
        self,
        model: ChatModel,
        retriever: Retriever,
        *,
        profile: Profile,
        engine: EngineSettings,
        knowledge: KnowledgeSettings,
    ) -> None:
        self._generator = Generator(model, profile, engine)
        self._retriever = RememberedEmbeddings(retriever)
        self._knowledge = knowledge

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Answer one message.

        Args:
            message: what was written; only its text and its attachments are read.
            recollection: what was said and learned before.
            text: is shown the answer piece by piece, each once it is certain: together they are the returned text.

        Raises:
            ModelError: the model failed.
            KnowledgeError: the passages could not be read.
        """
        stats = TurnStats(model=self._generator.name)
        started = perf_counter()
        answer = await self._answer(message, recollection, text, stats)
        stats.total_ms = _ms_since(started)
        return answer

    async def _answer(
        self, message: InboundMessage, recollection: Recollection, sink: TextSink, stats: TurnStats
    ) -> Answer:
        if fixed := _fixed_answer(message, recollection, stats):
            await sink.add(fixed.text)
            return fixed
        learned = learn_facts(message.text)
        asked = questions_of(message.text)
        if learned and not any(is_question(question) for question in asked):
            stats.route = "memory"
            text = replies.acknowledgement(learned)
            await sink.add(text)
            return Answer(kind="answer", text=text, facts=learned, stats=stats)
        scene = _Scene(message=message, facts={**recollection.facts, **learned}, turns=recollection.turns)
        cited = CitedText(sink)
        routes = []
        for question in asked:
            routes.append(await self._part(question, scene, cited, stats))
            await cited.end_paragraph()
        answered = [route for route in routes if route != "unknown"]
        if not answered:
            await cited.add(Claim(_unknown(asked[0])))
        stats.route = answered[-1] if answered else "unknown"
        return Answer(
            kind="answer" if answered else "notice",
            text=cited.text,
            sources=cited.sources(),
            facts=learned,
            stats=stats,
        )

    async def _part(self, question: str, scene: _Scene, cited: CitedText, stats: TurnStats) -> Route:
        """Answer one question from memory, else from the documents; write nothing where neither tells."""
        if told := await facts_for(self._retriever, question, scene.facts):
            await cited.add(await self._told(question, told, stats))
            return "memory"
        wants_steps = is_how_to(question) or (follows_up(question) and is_how_to(scene.previous))
        statements = await self._statements(question, scene, stats, wants_code=wants_steps)
        if not statements:
            return "unknown"
        if quoted := _quoted(question, statements, wants_steps=wants_steps):
            for claim in quoted:
                await cited.add(claim)
            return "quote"
        return await self._from_documents(question, statements, scene, cited, stats)

    async def _told(self, question: str, facts: list[str], stats: TurnStats) -> Claim:
        generated = await self._generator.text(question, facts, stats)
        if any(says_fact(generated, fact, question) for fact in facts):
            return Claim(generated)
        return Claim(" ".join(in_second_person(fact) for fact in facts))

    async def _statements(
        self, question: str, scene: _Scene, stats: TurnStats, *, wants_code: bool
    ) -> list[Statement]:
        """Find what the answer may rest on; nothing where the documents do not tell."""
        started = perf_counter()
        try:
            for attempt in readings(question, scene.previous):
                passages = await self._passages(attempt, scene)
                stats.best_score = max([stats.best_score, *(passage.score for passage in passages)])
                statements = [
                    statement
                    for statement in await weigh_statements(self._retriever, attempt, passages)
                    if wants_code or statement.block.kind != "code"
                ]
                if await is_answered_by(self._retriever, attempt, statements, self._knowledge.min_score):
                    return statements
            return []
        finally:
            stats.retrieve_ms += _ms_since(started)

    async def _passages(self, question: str, scene: _Scene) -> list[Passage]:
        k = self._knowledge.passages
        attached = await attachment_passages(self._retriever, question, scene.message.attachments, k)
        # A passage may lie farther from the question than others and still hold the sentence that answers it.
        found = await self._retriever.search(question, 2 * k)
        return attached + found

    async def _from_documents(
        self,
        question: str,
        statements: list[Statement],
        scene: _Scene,
        cited: CitedText,
        stats: TurnStats,
    ) -> Route:
        """Let the model answer in the question's terms, and write each sentence that passes the check."""
        near = relevant(statements)
        check = Check(question, near)
        turns = scene.turns if needs_previous(question) else ()
        facts = [statement.plain for statement in near]
        is_answered = False
        generated = self._generator.sentences(question, facts, stats, turns=turns, may_go_on=check.may_go_on)
        async with aclosing(generated) as sentences:
            async for sentence in sentences:
                started = perf_counter()
                statement = check.bearer_of(sentence)
                stats.check_ms += _ms_since(started)
                if statement:
                    is_answered = True
                    await cited.add(Claim(sentence, (statement,)))
        if is_answered:
            return "documents"
        for claim in quoted_sentences(statements):
            await cited.add(claim)
        return "quote"


def _quoted(question: str, statements: Sequence[Statement], *, wants_steps: bool) -> tuple[Claim, ...]:
    """Quote instructions and what decides yes or no; nothing where the model may say it in the question's terms."""
    if wants_steps:
        return quoted_steps(statements) or quoted_section(statements)
    if is_yes_or_no(question) or statements[0].block.kind != "sentence":
        return quoted_sentences(statements)
    return ()


def _unknown(question: str) -> str:
    return replies.UNKNOWN_FACT if asks_about_own_life(question) else replies.NOT_IN_DOCUMENTS


def _fixed_answer(message: InboundMessage, recollection: Recollection, stats: TurnStats) -> Answer | None:
    """Answer what needs neither memory nor documents: commands, small talk, a message without words."""
    text = message.text.strip()
    if text.startswith("/"):
        stats.route = "command"
        return _command(text, stats)
    if not any(char.isalnum() for char in text):
        stats.route = "command"
        names = ", ".join(f"`{attachment.name}`" for attachment in message.attachments)
        notice = replies.ATTACHMENT_READ.format(names=names) if names else replies.NO_WORDS
        return Answer(kind="notice", text=notice, stats=stats)
    if reply := replies.small_talk(text, recollection.facts):
        stats.route = "small_talk"
        return Answer(kind="answer", text=reply, stats=stats)
    return None


def _command(text: str, stats: TurnStats) -> Answer:
    # In a group Telegram writes the bot's name behind the command: /help@my_bot.
    name = text.split(maxsplit=1)[0].partition("@")[0].lower()
    if name in {"/new", "/forget", "/reset"}:
        return Answer(kind="notice", text=replies.FORGOTTEN, forget=True, stats=stats)
    reply = {"/start": replies.START, "/help": replies.HELP}.get(name, replies.UNKNOWN_COMMAND)
    return Answer(kind="notice", text=reply, stats=stats)


def _ms_since(started: float) -> float:
    return (perf_counter() - started) * 1000
