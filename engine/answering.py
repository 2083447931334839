"""Who answers a message: the model it names, or the assistant with what it remembers and the documents."""

from collections.abc import Sequence
from dataclasses import replace

from engine.answers import Answer, Answers, Recollection, TextSink, TurnStats
from engine.memory.facts import learn_facts
from hub.messages import InboundMessage, PromptMessage, Turn, Usage


class Answering:
    """Hands each message to the one it is meant for."""

    def __init__(self, assistant: Answers, direct: Answers) -> None:
        self._assistant = assistant
        self._direct = direct

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Answer one message; what the answer cost is told in any case."""
        if message.generation is not None:
            return await self._direct.answer(message, recollection, text)
        if message.earlier:
            recollection = recollection_of(message)
        answer = await self._assistant.answer(message, recollection, text)
        return answer if answer.usage else replace(answer, usage=_usage(answer.stats))


def recollection_of(message: InboundMessage) -> Recollection:
    """Remember what a client says was said before, as if it had been said here."""
    said = [earlier.text for earlier in message.earlier if earlier.role == "user"]
    facts = {key: fact for text in said for key, fact in learn_facts(text).items()}
    return Recollection(turns=_turns(message, message.earlier), facts=facts)


def _turns(message: InboundMessage, earlier: Sequence[PromptMessage]) -> list[Turn]:
    turns: list[Turn] = []
    question = ""
    for said in earlier:
        if said.role == "user":
            question = said.text
        elif said.role == "assistant" and question:
            at = message.received_at
            entry = f"0-{len(turns)}"
            turns.append(Turn(turn=entry, question=question, answer=said.text, asked_at=at, answered_at=at))
            question = ""
    return turns


def _usage(stats: TurnStats) -> Usage:
    return Usage(
        model=stats.model,
        prompt_tokens=stats.prompt_tokens,
        answer_tokens=stats.answer_tokens,
        cached_tokens=stats.cached_tokens,
        processing_s=stats.total_ms / 1000,
    )
