"""The command `/search_history`: finds what somebody and the assistant have said, in the archive."""

from engine import replies
from engine.answers import Answer, Answers, Recollection, TextSink, TurnStats
from engine.memory.summary import shortened
from hub.archive.archive import Archive, Reader
from hub.archive.search import words_of
from hub.commands import argument_of, command_of
from hub.messages import InboundMessage, Turn
from hub.people import People

MOST_FOUND = 8


class HistorySearch:
    """Answers the command itself, and hands everything else on.

    Args:
        archive: None where none is kept.
    """

    def __init__(self, answers: Answers, people: People, archive: Archive | None) -> None:
        self._answers = answers
        self._people = people
        self._archive = archive

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Answer one message.

        Raises:
            BusError: Redis is away.
            DatabaseError: the archive cannot be read.
        """
        command = command_of(message.text) if message.generation is None else ""
        if command != "/search_history":
            return await self._answers.answer(message, recollection, text)
        said = await self._found(message, argument_of(message.text))
        await text.add(said)
        return Answer(kind="notice", text=said, stats=TurnStats(route="command"))

    async def _found(self, message: InboundMessage, words: str) -> str:
        if self._archive is None:
            return replies.NO_ARCHIVE
        if not words_of(words):
            return replies.SEARCH_WHAT
        found = await self._archive.search(
            await reader_of(message, self._people), words, limit=MOST_FOUND + 1
        )
        # What was searched for is no find, nor is what looks like it.
        turns = [turn for turn in found if command_of(turn.question) != "/search_history"][:MOST_FOUND]
        if not turns:
            return replies.NOT_FOUND_IN_HISTORY
        return replies.FOUND_IN_HISTORY.format(found="\n\n".join(map(_shown, turns)))


async def reader_of(message: InboundMessage, people: People) -> Reader:
    """Say what somebody may look into: in private all their own conversations, in a group their own turns in it.

    Raises: BusError: Redis is away.
    """
    address, conversation = message.address, message.conversation
    if address.is_group:
        return Reader(conversations=[conversation], person=address.person)
    # None where nobody vouches for the person; then it is this conversation alone.
    others = await people.conversations(address, conversation)
    return Reader(conversations=[conversation, *others])


def _shown(turn: Turn) -> str:
    day = turn.asked_at.date().isoformat()
    return f"- {day}: “{shortened(turn.question)}”\n  {shortened(turn.answer)}"
