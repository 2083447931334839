"""The commands by which a person sees and changes what is remembered of them: `/memory` and `/style`."""

import re
from collections.abc import Mapping
from dataclasses import replace

from engine import replies
from engine.answers import Answer, Recollection
from engine.memory.facts import in_second_person, restated, told_facts
from engine.memory.style import LANGUAGES, Style, choice_of
from engine.memory.summary import shortened
from engine.output import visible
from hub.facts import Fact
from hub.messages import FactChange

_MOST_SHOWN = 60
_EARLIER_SHOWN = 2
_FORGET = re.compile(r"forget\s+(\d{1,4})\W*", re.IGNORECASE)
_CORRECT = re.compile(r"correct\s+(\d{1,4})\s*[:.)-]?\s*(\S.*)", re.IGNORECASE | re.DOTALL)


def memory_command(argument: str, recollection: Recollection, notice: Answer) -> Answer:
    """Answer `/memory`, `/memory forget N` and `/memory correct N: what is true`.

    Args:
        argument: what stands behind the command.
        notice: the answer, as far as it is the same for every command.
    """
    numbered = _numbered(recollection)
    if match := _FORGET.fullmatch(argument):
        if (found := _at(numbered, match[1])) is None:
            return replace(notice, text=replies.NO_SUCH_FACT)
        key, fact = found
        text = replies.FACT_FORGOTTEN.format(fact=in_second_person(fact.text))
        return replace(notice, text=text, forgotten=(key,))
    if match := _CORRECT.fullmatch(argument):
        if (found := _at(numbered, match[1])) is None:
            return replace(notice, text=replies.NO_SUCH_FACT)
        return _corrected(*found, match[1], match[2], notice)
    return replace(notice, text=_memory(numbered, recollection.style))


def style_command(argument: str, recollection: Recollection, notice: Answer) -> Answer:
    """Answer `/style` and its choices."""
    style = recollection.style
    if not argument:
        return replace(notice, text=_told_style(style))
    chosen = choice_of(argument)
    if not chosen:
        return replace(notice, text=replies.STYLE_UNKNOWN)
    after = replace(style, chosen={**style.chosen, **chosen})
    return replace(
        notice, text=_told_style(after if after.is_learning else Style(chosen=after.chosen)), style=chosen
    )


def _corrected(key: str, fact: Fact, number: str, said: str, notice: Answer) -> Answer:
    """Put what a person says in the place of a fact: a whole sentence about themselves, or the right words alone."""
    shown = visible(said).strip()
    told = told_facts(shown)
    if key in told:
        text, quote = told[key].text, told[key].quote
    else:
        text, quote = restated(key, fact.text, shown), shown
    if not text:
        return replace(notice, text=replies.NOT_CORRECTED.format(number=number))
    change = FactChange(key=key, text=text, quote=quote, found_by="person")
    return replace(
        notice,
        text=replies.FACT_CORRECTED.format(fact=in_second_person(text)),
        facts={key: text},
        proofs={key: change},
    )


def _numbered(recollection: Recollection) -> list[tuple[str, Fact]]:
    """Return the facts in the order in which they are shown and numbered: as they were told."""
    proofs: Mapping[str, Fact] = recollection.proofs or {
        key: Fact(text=text) for key, text in recollection.facts.items()
    }
    return sorted(proofs.items(), key=lambda pair: (pair[1].age_key, pair[0]))


def _at(numbered: list[tuple[str, Fact]], number: str) -> tuple[str, Fact] | None:
    at = int(number) - 1
    return numbered[at] if 0 <= at < len(numbered) else None


def _memory(numbered: list[tuple[str, Fact]], style: Style) -> str:
    if not numbered:
        manner = _manner(style)
        return replies.NOTHING_REMEMBERED + (f"\n\n{_STYLE_LINE.format(manner=manner)}" if manner else "")
    lines = [f"{number}. {_told(fact)}" for number, (_, fact) in enumerate(numbered[:_MOST_SHOWN], 1)]
    if len(numbered) > _MOST_SHOWN:
        lines.append(f"and {len(numbered) - _MOST_SHOWN} more")
    manner = _manner(style)
    line = f"{_STYLE_LINE.format(manner=manner)}\n\n" if manner else ""
    return replies.REMEMBERED.format(facts="\n".join(lines), style=line)


_STYLE_LINE = "You write, and I answer you, {manner}. `/style` changes it."


def _told(fact: Fact) -> str:
    """Return a fact with the person's own words, the day, and what had held before."""
    proof = [f"“{shortened(fact.quote)}”"] if fact.quote else []
    if fact.told_at:
        proof.append(_day(fact))
    if fact.audience == "group":
        proof.append("told in this group")
    if earlier := [in_second_person(one.text) for one in fact.earlier[-_EARLIER_SHOWN:]]:
        proof.append(f"before: {' '.join(earlier)}")
    return in_second_person(fact.text) + (f" ({', '.join(proof)})" if proof else "")


def _day(fact: Fact) -> str:
    # Not by strftime: the names of months would depend on the machine's locale.
    return fact.told_at.date().isoformat() if fact.told_at else ""


def _told_style(style: Style) -> str:
    learning = (
        replies.STYLE_LEARNED.format(messages=style.messages)
        if style.is_learning
        else replies.STYLE_NOT_LEARNED
    )
    return replies.STYLE.format(manner=_manner(style) or "as the documents put it", learning=learning)


def _manner(style: Style) -> str:
    """Say how somebody is answered; empty where nothing is known or chosen."""
    parts = []
    if style.language:
        parts.append(f"in {LANGUAGES[style.language]}")
    if style.length != "medium" or style.chosen.get("length"):
        parts.append({"short": "briefly", "medium": "at medium length", "long": "in detail"}[style.length])
    if style.tone != "neutral" or style.chosen.get("tone"):
        parts.append(
            {"formal": "formally", "informal": "informally", "neutral": "neither formally nor informally"}[
                style.tone
            ]
        )
    return ", ".join(parts)
