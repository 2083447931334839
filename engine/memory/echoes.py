"""Words that only come back: what the assistant said, or what it quoted, is no news about a person."""

from collections.abc import Iterable, Mapping, Sequence

from engine.memory.facts import Told
from engine.text import words
from hub.messages import Turn


def without_echoes(
    told: Mapping[str, Told], turns: Sequence[Turn], others: Iterable[str] = ()
) -> dict[str, Told]:
    """Leave out what a person says in the very words of an earlier answer, of its sources, or of what they quote.

    Where they had told the same before the assistant said it, the words are theirs and stay.

    Args:
        told: what the rules or the model found in a message.
        turns: the conversation's latest turns, oldest first.
        others: other texts that are not the person's, such as what a mail quotes.
    """
    if not told:
        return {}
    foreign = [_joined(text) for text in others if text]
    return {
        key: fact
        for key, fact in told.items()
        if not _is_echo(_joined(fact.core), turns) and not any(_joined(fact.core) in text for text in foreign)
    }


def _is_echo(core: str, turns: Sequence[Turn]) -> bool:
    for turn in turns:
        # Having repeated them once makes them no words of one's own; having told a fact with them does.
        if any(core in _joined(change.quote) for change in turn.facts if change.text):
            return False
        if any(core in _joined(text) for text in (turn.answer, *(source.quote for source in turn.sources))):
            return True
    return False


def _joined(text: str) -> str:
    """Write a text as its words between blanks, so that what is looked for matches whole words alone."""
    return f" {' '.join(words(text))} "
