"""What a message wants to know: its questions, and what kind of answer each of them needs."""

import re
from collections.abc import Sequence
from typing import Final

from engine.text import content_stems, sentences
from hub.messages import Turn

MAX_QUESTIONS: Final = 3
_MAX_QUESTION_CHARS = 400
_HOW_TO = re.compile(
    r"\bhow\s+(?:do|can|could|should|would|must|shall|may|to|does one)\b(?!\s+(?:i|we|you)\s+know\b)|\b(?:what|which) (?:are the )?(?:steps|commands?)\b"
    r"|\bwhere (?:do|can|should|must) (?:i|we|you) (?:get|find|put|set|enter|change|see|download)\b|\bexplain how\b|\bshow me\b|^(?:please )?(?:connect|install|configure|set up|add|create|start|enable|embed)\b",
    re.IGNORECASE,
)
_YES_OR_NO = re.compile(
    r"^(?:is|are|am|was|were|do|does|did|can|could|may|might|will|would|should|shall|must|has|have|had)\b",
    re.IGNORECASE,
)
_FOLLOW_UP = re.compile(
    r"^\s*(?:and|what about|how about|and what about|what if|or|und|y|et)\b", re.IGNORECASE
)
_REFERS_BACK = re.compile(
    r"\b(?:it|its|that|this|they|them|their|those|these|there|he|she|his|her)\b", re.IGNORECASE
)
_ABOUT_SELF = re.compile(
    r"\b(?:my|me|i|mine|myself|mein\w*|ich|mi|me|mon|ma|je|मेरा|mio|meu)\b", re.IGNORECASE
)
_ASKS_NAME = re.compile(
    r"\b(?:what(?:'s|s| is| was)|do you (?:know|remember)|tell me|say) my (?:full |first )?name\b|\bwho am i\b|\bwhat am i called\b"
    r"|\bwhat do (?:you|they|people) call me\b|\bwie (?:heiße|heisse) ich\b|\bwas ist mein name\b|\bcómo me llamo\b|\bcuál es mi nombre\b"
    r"|\bcomment (?:je m'appelle|est-ce que je m'appelle|m'appelle-je)\b|\bquel est mon (?:nom|prénom)\b|\bcome mi chiamo\b"
    r"|\bqual (?:é|e) (?:o )?meu nome\b|\bhoe heet ik\b|मेरा नाम क्या है|म्हजें नांव कितें|как меня зовут",
    re.IGNORECASE,
)
_OWN_LIFE = re.compile(
    r"\b(?:what(?:'s| is) my (?:favou?rite|birthday|age|job|profession|dog|cat|wife|husband|hobby)|how old am i|where am i from"
    r"|where do i (?:live|work|come from)|when is my birthday|what do you know about me)\b",
    re.IGNORECASE,
)
_QUESTION_WORD = re.compile(
    r"^(?:who|what|when|where|which|why|how|is|are|am|do|does|did|can|could|may|will|would|should|tell me|show me|explain|list)\b",
    re.IGNORECASE,
)


def questions_of(text: str) -> list[str]:
    """Find what a message asks: its questions, or the whole of it where nothing is marked as one.

    Returns: at most `MAX_QUESTIONS`, in their order, each of bounded length.
    """
    own = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(">"))
    parts = [part for paragraph in own.split("\n") for part in sentences(paragraph)]
    marked = [part for part in parts if part.rstrip("\"'”’)*_ ").endswith(("?", "？"))]
    asked = marked or [part for part in parts if _QUESTION_WORD.match(part)] or [" ".join(own.split())]
    return [question[:_MAX_QUESTION_CHARS] for question in asked if question.strip()][:MAX_QUESTIONS]


def is_how_to(question: str) -> bool:
    """Whether the question asks for steps rather than for a fact."""
    return bool(_HOW_TO.search(question))


def is_yes_or_no(question: str) -> bool:
    """Whether yes or no would answer the question; the source's own words are the safer answer to it."""
    return bool(_YES_OR_NO.match(question))


def is_about_self(question: str) -> bool:
    """Whether the question may be about the person who asks."""
    return bool(_ABOUT_SELF.search(question)) or asks_own_name(question)


def asks_own_name(question: str) -> bool:
    """Whether a person asks for the name they told."""
    return bool(_ASKS_NAME.search(question))


def asks_about_own_life(question: str) -> bool:
    """Whether a person asks for something only they could have told."""
    return asks_own_name(question) or bool(_OWN_LIFE.search(question))


def is_question(text: str) -> bool:
    """Whether a sentence asks something."""
    return "?" in text or "？" in text or bool(_QUESTION_WORD.match(text)) or asks_own_name(text)


def follows_up(question: str) -> bool:
    """Whether a question plainly goes on from the one before: "And by mail?"."""
    return bool(_FOLLOW_UP.match(question)) and len(content_stems(question)) <= 4


def refers_back(question: str) -> bool:
    """Whether a question may need the one before to be understood: "How large may it be?"."""
    return bool(_REFERS_BACK.search(question)) or len(content_stems(question)) <= 1


def needs_previous(question: str) -> bool:
    """Whether a question may only be understood with the one before it."""
    return follows_up(question) or refers_back(question)


def previous_question(turns: Sequence[Turn]) -> str:
    """Return the last question that was answered, or nothing."""
    answered = (turn.question for turn in reversed(turns) if turn.kind == "answer" and turn.question)
    return next(answered, "")[:_MAX_QUESTION_CHARS]


def readings(question: str, previous: str) -> list[str]:
    """Return what to look for: the question itself, and where it seems to go on from the previous one, both."""
    if not previous or not needs_previous(question):
        return [question]
    return [_FOLLOW_UP.sub("", question).strip() or question, f"{previous} {question}"]
