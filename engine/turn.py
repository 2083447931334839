"""One turn: recall, retrieve, compose, generate, check. What is done with the answer is the worker's business."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from time import perf_counter

from engine import replies
from engine.answers import Answer, Recollection, Route, TextSink, TurnStats
from engine.attachments import attachment_passages
from engine.citations import Claim, cite
from engine.documents import DocumentAnswers, quoted_sentences, quoted_steps
from engine.evidence import Statement, is_answered_by, weigh_statements
from engine.memory.facts import in_second_person, learn_facts
from engine.memory.recall import facts_for, says_fact
from engine.models.base import ChatModel
from engine.profiles import Profile
from engine.questions import (
    asks_about_own_life,
    follows_up,
    is_how_to,
    is_question,
    questions_of,
    refers_back,
    with_previous,
)
from hub.messages import InboundMessage
from hub.settings import EngineSettings, KnowledgeSettings
from knowledge.passages import Passage, Retriever

__all__ = ["Answer", "Assistant", "Recollection", "TextSink", "TurnStats"]

_PASSAGE_MARGIN = 0.2
"""A passage may be this much farther from the question than the sentence in it that answers."""


@dataclass(frozen=True, slots=True)
class _Part:
    """The answer to one of a message's questions."""

    route: Route
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """What all questions of one message share."""

    message: InboundMessage
    recollection: Recollection
    """With what this very message told."""


class _Shown:
    """What the person sees so far; starts over only where that was wrong."""

    def __init__(self, sink: TextSink) -> None:
        self._sink = sink
        self._text = ""

    async def add(self, text: str) -> None:
        self._text += text
        await self._sink.add(text)

    async def settle(self, text: str) -> None:
        """Show exactly this text."""
        if not text.startswith(self._text):
            await self._sink.reset()
            self._text = ""
        if rest := text[len(self._text) :]:
            await self.add(rest)


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
        self._model = model
        self._retriever = retriever
        self._knowledge = knowledge
        self._documents = DocumentAnswers(model, profile, max_answer_tokens=engine.max_answer_tokens)

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Answer one message.

        Args:
            message: what was written; only its text and its attachments are read.
            recollection: what was said and learned before.
            text: is shown the answer while it is generated; the returned text replaces what it holds.

        Raises:
            ModelError: the model failed.
            KnowledgeError: the passages could not be read.
        """
        stats = TurnStats(model=self._model.name)
        started = perf_counter()
        answer = await self._answer(message, recollection, _Shown(text), stats)
        stats.total_ms = _ms_since(started)
        return answer

    async def _answer(
        self, message: InboundMessage, recollection: Recollection, shown: _Shown, stats: TurnStats
    ) -> Answer:
        if fixed := _fixed_answer(message, recollection, stats):
            await shown.settle(fixed.text)
            return fixed
        learned = learn_facts(message.text)
        facts = {**recollection.facts, **learned}
        asked = questions_of(message.text)
        if learned and not any(is_question(question) for question in asked):
            stats.route = "memory"
            text = replies.acknowledgement(learned)
            await shown.settle(text)
            return Answer(kind="answer", text=text, facts=learned, stats=stats)
        scene = _Scene(message=message, recollection=Recollection(turns=recollection.turns, facts=facts))
        parts: list[_Part] = []
        for question in asked:
            parts.append(await self._part(question, scene, shown, stats))
            await shown.settle(cite([part.claims for part in parts]).text)
        return _joined(parts, learned, stats)

    async def _part(self, question: str, scene: _Scene, shown: _Shown, stats: TurnStats) -> _Part:
        """Answer one question: from memory, else from the documents, else say that they do not tell."""
        if told := await facts_for(self._retriever, question, scene.recollection.facts):
            stats.route = "memory"
            return _Part("memory", (await self._told(question, told[0], shown, stats),))
        statements = await self._statements(question, scene, stats)
        if statements:
            return await self._from_documents(question, statements, shown, stats)
        stats.route = "unknown"
        text = replies.UNKNOWN_FACT if asks_about_own_life(question) else replies.NOT_IN_DOCUMENTS
        return _Part("unknown", (Claim(text),))

    async def _told(self, question: str, fact: str, shown: _Shown, stats: TurnStats) -> Claim:
        generated = await self._generate(self._documents.stream(question, [fact]), shown, stats)
        return Claim(generated if says_fact(generated, fact, question) else in_second_person(fact))

    async def _statements(self, question: str, scene: _Scene, stats: TurnStats) -> list[Statement]:
        """Find what the answer may rest on; nothing where the documents do not tell."""
        started = perf_counter()
        longer = with_previous(question, scene.recollection.turns)
        attempts = [question]
        if longer and follows_up(question):
            attempts = [longer]
        elif longer and refers_back(question):
            attempts = [question, longer]
        try:
            for attempt in attempts:
                passages = await self._passages(attempt, scene)
                stats.best_score = max([stats.best_score, *(passage.score for passage in passages)])
                statements = await weigh_statements(self._retriever, attempt, passages)
                if is_answered_by(attempt, statements, self._knowledge.min_score):
                    return statements
            return []
        finally:
            stats.retrieve_ms += _ms_since(started)

    async def _passages(self, question: str, scene: _Scene) -> list[Passage]:
        k = self._knowledge.passages
        attached = await attachment_passages(self._retriever, question, scene.message.attachments, k)
        found = await self._retriever.search(question, k)
        least = self._knowledge.min_score - _PASSAGE_MARGIN
        return attached + [passage for passage in found if passage.score >= least]

    async def _from_documents(
        self, question: str, statements: list[Statement], shown: _Shown, stats: TurnStats
    ) -> _Part:
        if is_how_to(question) and (steps := quoted_steps(statements)):
            stats.route = "quote"
            return _Part("quote", steps)
        stats.route = "documents"
        facts = self._documents.facts(statements)
        generated = await self._generate(self._documents.stream(question, facts), shown, stats)
        started = perf_counter()
        claims = self._documents.checked(generated, question, statements) or quoted_sentences(statements)
        stats.check_ms += _ms_since(started)
        return _Part("documents", claims)

    async def _generate(self, pieces: AsyncIterator[str], shown: _Shown, stats: TurnStats) -> str:
        started = perf_counter()
        text = ""
        async for piece in pieces:
            if not text:
                stats.first_token_ms = stats.first_token_ms or _ms_since(started)
            text += piece
            await shown.add(piece)
        stats.generate_ms += _ms_since(started)
        return text.strip()


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


def _joined(parts: Sequence[_Part], learned: dict[str, str], stats: TurnStats) -> Answer:
    answered = [part for part in parts if part.route != "unknown"]
    cited = cite([part.claims for part in answered or parts[:1]])
    return Answer(
        kind="answer" if answered else "notice",
        text=cited.text,
        sources=cited.sources,
        facts=learned,
        stats=stats,
    )


def _ms_since(started: float) -> float:
    return (perf_counter() - started) * 1000
