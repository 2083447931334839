"""One turn: recall, retrieve, compose, generate, check. What is done with the answer is the worker's business."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from time import perf_counter

from engine import replies
from engine.answers import Answer, Recollection, Route, TextSink, TurnStats
from engine.attachments import attachment_passages
from engine.citations import Claim, cite
from engine.documents import checked_sentences, quoted_section, quoted_sentences, quoted_steps, relevant
from engine.evidence import RememberedEmbeddings, Statement, is_answered_by, weigh_statements
from engine.grounding import is_within
from engine.memory.facts import in_second_person, learn_facts
from engine.memory.recall import facts_for, says_fact
from engine.models.base import ChatModel, GenerateOptions
from engine.output import visible
from engine.profiles import Profile
from engine.prompt import compose, within_budget
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


@dataclass(frozen=True, slots=True)
class _Part:
    """The answer to one of a message's questions."""

    route: Route
    claims: tuple[Claim, ...]


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
        self._retriever = RememberedEmbeddings(retriever)
        self._knowledge = knowledge
        self._profile = profile
        self._max_answer_tokens = engine.max_answer_tokens
        self._window_turns = engine.window_turns

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
        scene = _Scene(message=message, facts=facts, turns=recollection.turns)
        parts: list[_Part] = []
        for question in asked:
            if parts:
                await shown.add("\n\n")
            parts.append(await self._part(question, scene, shown, stats))
            await shown.settle(_joined(parts, learned, stats).text)
        return _joined(parts, learned, stats)

    async def _part(self, question: str, scene: _Scene, shown: _Shown, stats: TurnStats) -> _Part:
        """Answer one question: from memory, else from the documents, else say that they do not tell."""
        if told := await facts_for(self._retriever, question, scene.facts):
            stats.route = "memory"
            return _Part("memory", (await self._told(question, told, stats),))
        wants_steps = is_how_to(question) or (follows_up(question) and is_how_to(scene.previous))
        statements = await self._statements(question, scene, stats, wants_code=wants_steps)
        if statements:
            return await self._from_documents(
                question, statements, scene, shown, stats, wants_steps=wants_steps
            )
        stats.route = "unknown"
        text = replies.UNKNOWN_FACT if asks_about_own_life(question) else replies.NOT_IN_DOCUMENTS
        return _Part("unknown", (Claim(text),))

    async def _told(self, question: str, facts: list[str], stats: TurnStats) -> Claim:
        generated = await self._generate(question, facts, stats)
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
        shown: _Shown,
        stats: TurnStats,
        *,
        wants_steps: bool,
    ) -> _Part:
        """Quote instructions and what decides yes or no; let the model say the rest in the question's terms."""
        stats.route = "quote"
        if wants_steps:
            return _Part("quote", quoted_steps(statements) or quoted_section(statements))
        if is_yes_or_no(question) or statements[0].block.kind != "sentence":
            return _Part("quote", quoted_sentences(statements))
        near = relevant(statements)
        facts = within_budget(self._model, [visible(statement.plain) for statement in near])
        stays_within = partial(is_within, question=question, statements=near)
        turns = scene.turns if needs_previous(question) else ()
        generated = await self._generate(
            question, facts, stats, turns=turns, shown=shown, may_go_on=stays_within
        )
        started = perf_counter()
        claims = checked_sentences(generated, question, near)
        stats.check_ms += _ms_since(started)
        if not claims:
            return _Part("quote", quoted_sentences(statements))
        stats.route = "documents"
        return _Part("documents", claims)

    async def _generate(
        self,
        question: str,
        facts: Sequence[str],
        stats: TurnStats,
        *,
        turns: Sequence[Turn] = (),
        shown: _Shown | None = None,
        may_go_on: Callable[[str], bool] = lambda _: True,
    ) -> str:
        """Let the model answer from facts; stop it as soon as it leaves them.

        Returns: the text up to there.
        """
        options = GenerateOptions(max_tokens=self._max_answer_tokens, stop=self._profile.stop)
        prompt = compose(
            self._model,
            self._profile,
            facts,
            question,
            answer_tokens=options.max_tokens,
            turns=turns,
            last_turns=self._window_turns,
        )
        stats.prompt_tokens += self._model.count_tokens(prompt)
        started = perf_counter()
        text = ""
        async with aclosing(self._model.stream(prompt, options)) as pieces:
            async for piece in pieces:
                if not text:
                    stats.first_token_ms = stats.first_token_ms or _ms_since(started)
                if not may_go_on(text + piece):
                    break
                text += piece
                stats.answer_tokens += 1
                if shown:
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
