"""`/sources` tells which of the documents have changed since they were cited."""

from collections.abc import Sequence
from dataclasses import replace

from engine import replies
from engine.answers import Answer, Answers, Recollection, TextSink
from hub.citations import Citations
from hub.commands import command_of
from hub.messages import InboundMessage, Source


class CheckedSources:
    """Marks the sources that are shown again, and hands everything else on."""

    def __init__(self, answers: Answers, citations: Citations) -> None:
        self._answers = answers
        self._citations = citations

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Answer one message."""
        answer = await self._answers.answer(message, recollection, text)
        if message.generation is not None or command_of(message.text) != "/sources" or not answer.sources:
            return answer
        sources = await self._citations.marked_sources(answer.sources)
        if not (told := _told(sources)):
            return replace(answer, sources=sources)
        await text.add(f"\n\n{told}")
        return replace(answer, text=f"{answer.text}\n\n{told}", sources=sources)


def _told(sources: Sequence[Source]) -> str:
    """Say which of them are not what they were; empty where all are."""
    said = []
    if changed := _numbers(sources, "changed"):
        said.append(replies.SOURCES_CHANGED.format(sources=changed))
    if gone := _numbers(sources, "gone"):
        said.append(replies.SOURCES_GONE.format(sources=gone))
    return " ".join(said)


def _numbers(sources: Sequence[Source], state: str) -> str:
    return ", ".join(f"[{source.number}]" for source in sources if source.state == state)
