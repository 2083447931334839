"""The running summary: what a person asked and told before the window, in their own words, shortened.

Extractive on purpose: it says nothing that was not written, and the same turns always give the same summary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.output import clean_output
from engine.questions import asks_about_talk, is_question, questions_of
from engine.replies import small_talk
from engine.text import sentences
from hub.bus.entries import entry_order
from hub.messages import Turn

MAX_ENTRY_CHARS = 120
MAX_SUMMARY_CHARS = 1500
"""Of all entries together, line breaks included: about 400 tokens."""
_MAX_READ_CHARS = 4000
_MAX_COUNT = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What was asked and told in the turns that have left the window."""

    entries: tuple[str, ...] = ()
    """Oldest first, one line each; the oldest make room for new ones."""
    count: int = 0
    """Entries there have been, those dropped included."""
    first: str = ""
    """The first question of the conversation, which stays."""
    upto: str = ""
    """Id of the last turn that was folded in."""

    @property
    def dropped(self) -> int:
        """How many entries are no longer told."""
        return self.count - len(self.entries)

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> "Summary":
        """Read what `fields` wrote; whatever else stands there is as good as nothing."""
        entries = tuple(line for line in fields.get("text", "").split("\n") if line)
        count = fields.get("count", "")
        is_count = count.isascii() and count.isdigit() and int(count[:10]) <= _MAX_COUNT
        upto = fields.get("upto", "")
        return cls(
            entries=entries,
            count=max(len(entries), int(count) if is_count else 0),
            first=fields.get("first", ""),
            upto=upto if _is_entry_id(upto) else "",
        )

    def fields(self) -> dict[str, str]:
        """Return it as the fields of a hash."""
        return {
            "text": "\n".join(self.entries),
            "count": str(self.count),
            "first": self.first,
            "upto": self.upto,
        }

    def holds(self, turn: Turn) -> bool:
        """Whether a turn was folded in already."""
        return bool(self.upto) and entry_order(turn.turn) <= entry_order(self.upto)


def fold(summary: Summary, turns: Sequence[Turn], *, window: int) -> Summary:
    """Fold in the turns that have left the window, each once.

    Args:
        turns: the latest turns, oldest first; those that the summary holds already count for nothing.
        window: how many of them the window keeps.
    """
    for turn in turns[: max(0, len(turns) - window)]:
        if not summary.holds(turn):
            summary = _with(summary, turn)
    return summary


def entry_of(turn: Turn) -> str:
    """Return what a person asked or told in a turn as one short line; nothing for a command or small talk."""
    text = turn.question[:_MAX_READ_CHARS]
    own = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(">")).strip()
    if not own or own.startswith("/") or small_talk(own, {}) or asks_about_talk(own):
        return ""
    asked = [question for question in questions_of(own) if is_question(question)]
    told = " ".join(asked or sentences(own)[:1])
    short = shortened(told)
    return short if any(char.isalnum() for char in short) else ""


def shortened(text: str) -> str:
    """Write what a person wrote on one short line, without Markdown, HTML and addresses."""
    cleaned = " ".join(clean_output(text.replace("`", ""), set()).split())
    if len(cleaned) <= MAX_ENTRY_CHARS:
        return cleaned
    cut = cleaned[: MAX_ENTRY_CHARS - 1]
    is_of_words = " " in cut[MAX_ENTRY_CHARS // 2 :]
    return (cut.rpartition(" ")[0] if is_of_words else cut).rstrip(" ,;:") + "…"


def _with(summary: Summary, turn: Turn) -> Summary:
    entry = entry_of(turn)
    if not entry:
        return Summary(entries=summary.entries, count=summary.count, first=summary.first, upto=turn.turn)
    kept = [entry]
    for older in reversed(summary.entries):
        if sum(map(len, kept)) + len(kept) + len(older) > MAX_SUMMARY_CHARS:
            break
        kept.insert(0, older)
    return Summary(
        entries=tuple(kept),
        count=summary.count + 1,
        first=summary.first or (entry if is_question(entry) else ""),
        upto=turn.turn,
    )


def _is_entry_id(text: str) -> bool:
    milliseconds, _, sequence = text.partition("-")
    return all(part.isascii() and part.isdigit() for part in (milliseconds, sequence))
