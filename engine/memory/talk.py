"""Answers questions about the conversation itself from what the person wrote: summary, then window."""

from collections.abc import Sequence

from engine.memory.summary import Summary, entry_of
from engine.questions import TalkQuestion, is_question
from hub.messages import Turn

_MAX_TOLD = 20
# In a group several people ask, so that nothing is said of who did.
_NOTHING_YET = "Nothing was asked before this in our conversation."
_FIRST = "The first question in this conversation was: “{entry}”"
_LAST = "The last question before this one was: “{entry}”"
_ALL = "This was asked and told in this conversation, oldest first{left_out}:\n\n{entries}"


def told_of_talk(wanted: TalkQuestion, summary: Summary, turns: Sequence[Turn]) -> str:
    """Answer a question about the conversation in the person's own words, shortened.

    Args:
        turns: the window, oldest first.
    """
    recent = [entry for turn in turns if not summary.holds(turn) and (entry := entry_of(turn))]
    entries = [*summary.entries, *recent]
    asked = [entry for entry in entries if is_question(entry)]
    if wanted == "first" and (first := summary.first or next(iter(asked), "")):
        return _FIRST.format(entry=first)
    if wanted == "last" and asked:
        return _LAST.format(entry=asked[-1])
    if wanted != "all" or not entries:
        return _NOTHING_YET
    told = entries[-_MAX_TOLD:]
    dropped = summary.dropped + len(entries) - len(told)
    return _ALL.format(
        left_out=f" ({dropped} earlier left out)" if dropped else "",
        entries="\n".join(f"- {entry}" for entry in told),
    )
