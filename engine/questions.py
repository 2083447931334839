"""What a message wants to know: its questions, and what kind of answer each of them needs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from engine.languages import foreign_question
from engine.text import content_stems, sentences, stem, words
from hub.messages import Turn

MAX_QUESTIONS: Final = 3
_MAX_QUESTION_CHARS = 400
_MAX_QUOTED_CHARS = 2000
_MAX_FRAGMENT_WORDS = 5
_ASKS_NUMBER = re.compile(
    r"\bhow (?:many|much|old|long|large|big|often|far|tall)\b|\bwhen\b|\bwhat (?:time|year)\b", re.IGNORECASE
)
_DURATION = re.compile(r"\bhow (?:long|often)\b", re.IGNORECASE)
_TIME = re.compile(
    r"\b(?:seconds?|minutes?|hours?|days?|weeks?|months?|years?|daily|forever|until|always)\b",
    re.IGNORECASE,
)
_LOOSE_NUMBER = re.compile(
    r"(?<![\w.-])\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|twelve|hundred|thousand)\b"
)
_WRAPPED = re.compile(r"(?<=[^\n]{40})(?<![.!?:,])\n(?=[^\W\d_A-Z])")
"""Where a mail program has broken a sentence: a long line, and a word that begins no sentence."""
_ATTRIBUTION = re.compile(r"\b(?:wrote|schrieb|écrit|escribió|scritto|escreveu|schreef)\b.*:$", re.IGNORECASE)
_WHY = re.compile(r"\bwhy\b", re.IGNORECASE)
_REASON = re.compile(
    r"\b(?:because|so that|since|therefore|otherwise|that is why|in order to)\b", re.IGNORECASE
)
_HOW_TO = re.compile(
    r"\bhow\s+(?:do|can|could|should|would|must|shall|may|to|does one)\b(?!\s+(?:i|we|you)\s+know\b)|\b(?:what|which) (?:are the )?(?:steps|commands?)\b"
    r"|\bwhere (?:do|can|should|must) (?:i|we|you) (?:get|find|put|set|enter|change|see|download)\b|\bexplain how\b|\bshow me\b|^(?:please )?(?:connect|install|configure|set up|add|create|start|enable|embed)\b",
    re.IGNORECASE,
)
_YES_OR_NO = re.compile(
    r"^(?:is|are|am|was|were|do|does|did|can|could|may|might|will|would|should|shall|must|has|have|had)\b",
    re.IGNORECASE,
)
_DEFINITION = re.compile(
    r"^what(?:'s| is| are) (?:an? )?(?!the\b|my\b|your\b)[\w-]+(?: [\w-]+)?\W*$", re.IGNORECASE
)
_CONNECTIVE = re.compile(r"^\s*(?:and|or|but|so|then|und|oder|et|ou|y|o|e|en)\b[\s,]*", re.IGNORECASE)
_WHAT_ABOUT = re.compile(
    r"^(?:what about|how about|what if|was ist mit|wie ist es mit|et pour|qu'en est-il de)\b", re.IGNORECASE
)
_FRAGMENT_START = re.compile(
    r"^(?:by|on|in|with|without|for|from|at|via|to|as|during|until|the|an?|only|mit|auf|für|per|avec|sur|con|para|por)\b",
    re.IGNORECASE,
)
_PRONOUN = re.compile(
    r"\b(?:it|its|they|them|their|he|him|she|her|his)\b"
    r"|\b(?:this|that|these|those)\b(?=\W*$|\s+(?:be|safe|free|possible|true|enough|is|are|was|were|work|works|mean|means|cost|happen|ones?|too)\b)",
    re.IGNORECASE,
)
_OPEN_WORDS = frozenset(
    stem(word)
    for word in re.findall(
        r"\w+",
        """large long big small old often far fast slow expensive cheap high tall work works mean cost costs look matter
        exactly again really else instead example detail details reason sure true second first""",
    )
)
"""Words that ask for something of whatever the talk is about."""
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
TalkQuestion = Literal["first", "last", "all"]
_POLITELY = r"(?:(?:hi|hello|hey|ok|okay|so|and|please|but|now|then)[\s,]+)*(?:(?:can|could|would|will) you (?:please )?|do you (?:still )?(?:know|remember) )?(?:(?:tell|remind) me )?"
_SO_FAR = r"(?: me| you| to (?:you|me)| with (?:you|me))*(?: about)?(?:,? (?:so far|until now|up to now|today|earlier|before|previously|here|already|in (?:this|our) (?:chat|conversation|talk)|please))*"
_ORDINAL_FIRST = r"(?:very )?first(?: of all)?"
_ORDINAL_LAST = r"(?:last|just now|just|previously|most recently|right before(?: this)?|before this)"
_TALK = r"(?:our|this|the|my) (?:(?:whole|entire|previous) )?(?:conversation|chat|talk|discussion|dialogue?)"
_ABOUT_TALK: tuple[tuple[TalkQuestion, str], ...] = (
    (
        "first",
        rf"what (?:did i|have i) {_ORDINAL_FIRST} ask(?:ed)?{_SO_FAR}|what i asked(?: you)? {_ORDINAL_FIRST}",
    ),
    ("first", rf"what (?:did i|have i) ask(?:ed)?(?: you)?(?: about)? {_ORDINAL_FIRST}{_SO_FAR}"),
    (
        "first",
        rf"what(?:'s| is| was) (?:my|the) {_ORDINAL_FIRST} (?:question|thing)(?: (?:that )?i (?:have )?asked)?{_SO_FAR}",
    ),
    ("first", r"was (?:habe ich dich|war meine) (?:zuerst|als erstes|erste frage)(?: gefragt)?"),
    (
        "last",
        rf"what (?:did i|have i) {_ORDINAL_LAST} ask(?:ed)?{_SO_FAR}|what i asked(?: you)? {_ORDINAL_LAST}",
    ),
    ("last", rf"what (?:did i|have i) ask(?:ed)?(?: you)?(?: about)? {_ORDINAL_LAST}{_SO_FAR}"),
    (
        "last",
        rf"what(?:'s| is| was) (?:my|the) (?:last|previous|latest|most recent) (?:question|thing)(?: (?:that )?i (?:have )?asked)?{_SO_FAR}",
    ),
    ("last", r"was war meine letzte frage|was habe ich (?:dich )?(?:zuletzt|gerade|eben) gefragt"),
    (
        "all",
        rf"what (?:have|did) we (?:been )?(?:talk(?:ed|ing)?|discuss(?:ed|ing)?|sp(?:eak|oken|oke)|chatt?(?:ed|ing)?){_SO_FAR}",
    ),
    ("all", rf"what (?:did i|have i) ask(?:ed)?{_SO_FAR}"),
    (
        "all",
        rf"(?:what (?:was|were|are|is)|which (?:were|are)|list) (?:all )?(?:of )?my (?:other |earlier |previous )?questions{_SO_FAR}",
    ),
    ("all", rf"what (?:was|is) {_TALK} about{_SO_FAR}"),
    (
        "all",
        rf"(?:summari[sz]e|recap|sum up|repeat|(?:give me |make |write )?(?:a |the )?(?:short |brief )?(?:summary|recap) of) {_TALK}{_SO_FAR}",
    ),
    (
        "all",
        r"(?:worüber|über was) haben wir (?:bisher )?(?:gesprochen|geredet)|fasse? (?:unser|das) gespräch zusammen",
    ),
    (
        "all",
        r"de qué hemos hablado|de quoi avons-nous parlé|di cosa abbiamo parlato|sobre o que (?:nós )?falamos",
    ),
)
_ASKS_ABOUT_TALK = tuple(
    (wanted, re.compile(rf"{_POLITELY}(?:{pattern})[\s?.!]*", re.IGNORECASE))
    for wanted, pattern in _ABOUT_TALK
)
_QUESTION_WORD = re.compile(
    r"^(?:who|what|when|where|which|why|how|is|are|am|do|does|did|can|could|may|will|would|should|tell me|show me|explain|list)\b",
    re.IGNORECASE,
)


def questions_of(text: str, most: int = MAX_QUESTIONS) -> list[str]:
    """Find what a message asks: its questions, or the whole of it where nothing is marked as one.

    Returns: at most `most`, in their order, each of bounded length.
    """
    own = without_quoted_lines(text)
    parts = [part for paragraph in _WRAPPED.sub(" ", own).split("\n") for part in sentences(paragraph)]
    marked = [part for part in parts if part.rstrip("\"'”’)*_ ").endswith(("?", "？"))]
    asked = (
        marked
        or [part for part in parts if is_question_begun(part) or asks_about_talk(part)]
        or [" ".join(own.split())]
    )
    return [question[:_MAX_QUESTION_CHARS] for question in asked if question.strip()][:most]


def without_quoted_lines(text: str) -> str:
    """Leave out the lines that a message quotes with `>`."""
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(">"))


def is_how_to(question: str) -> bool:
    """Whether the question asks for steps rather than for a fact."""
    return bool(_HOW_TO.search(question))


def is_yes_or_no(question: str) -> bool:
    """Whether yes or no would answer the question; the source's own words are the safer answer to it."""
    return bool(_YES_OR_NO.match(question))


def asks_what_it_is(question: str) -> bool:
    """Whether a question asks for a definition: "What is a session?"; the source's own is the whole one."""
    return bool(_DEFINITION.match(question))


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
    is_marked = "?" in text or "？" in text
    return is_marked or bool(_QUESTION_WORD.match(text) or asks_about_talk(text)) or asks_own_name(text)


def asks_about_talk(text: str) -> TalkQuestion | None:
    """Tell what of the conversation itself a question wants to hear; None where it is about anything else."""
    asked = " ".join(text.strip("\"'“”¿ \n").split())[:_MAX_QUESTION_CHARS]
    return next((wanted for wanted, pattern in _ASKS_ABOUT_TALK if pattern.fullmatch(asked)), None)


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to understand a question."""

    text: str
    """What to look for."""
    question: str
    """As it was asked."""
    added: frozenset[str] = frozenset()
    """Stems of the content words that the question adds to the one it goes on from."""
    topic: frozenset[str] = frozenset()
    """Stems of the earlier text that it goes on from."""
    is_merged: bool = False
    """Whether it goes on from an earlier question."""


def is_ellipsis(question: str) -> bool:
    """Whether a question leaves its verb or all of its content to the one before: "And by mail?", "Why?"."""
    rest = _CONNECTIVE.sub("", question)
    if _WHAT_ABOUT.match(rest) or not _own_content(rest):
        return True
    is_short = len(words(rest)) <= _MAX_FRAGMENT_WORDS and not is_question_begun(rest)
    return is_short and (rest != question or bool(_FRAGMENT_START.match(rest)))


def needs_previous(question: str) -> bool:
    """Whether a question may only be understood with the one before it."""
    return is_ellipsis(question) or bool(_PRONOUN.search(question))


def previous_question(turns: Sequence[Turn]) -> str:
    """Return the last question that was answered from documents and stands by itself, or nothing."""
    for turn in reversed(turns):
        asked = questions_of(turn.question) if turn.kind == "answer" and turn.sources else []
        if asked and not needs_previous(asked[-1]):
            return asked[-1]
    return ""


def first_sentence(quoted: str) -> str:
    """Return how an earlier text that a message carries along begins; what it is about stands there."""
    lines = (line.lstrip("> \t") for line in quoted[:_MAX_QUOTED_CHARS].splitlines())
    told = [line for line in lines if line and not _ATTRIBUTION.search(line)]
    return next((part for line in told for part in sentences(line) if len(words(part)) > 2), "")[
        :_MAX_QUESTION_CHARS
    ]


def replied_to(quoted: str, turns: Sequence[Turn]) -> str:
    """Return the question whose answer a message quotes, or nothing."""
    begin = content_stems(first_sentence(quoted))
    for turn in reversed(turns):
        if begin and turn.kind == "answer" and begin == content_stems(first_sentence(turn.answer)):
            return next(iter(questions_of(turn.question)[-1:]), "")
    return ""


def readings(question: str, *earlier: str) -> list[Reading]:
    """Return the ways to understand a question, likeliest first.

    Args:
        earlier: what it may go on from, nearest first; empty ones count for nothing. A question that is complete
            in itself goes on from none of them.
    """
    alone = Reading(_CONNECTIVE.sub("", question).strip() or question, question)
    if not needs_previous(question):
        return [alone]
    own = _own_content(alone.text)
    merged = [
        Reading(f"{text} {question}", question, own, frozenset(content_stems(text)), is_merged=True)
        for text in earlier
        if text
    ]
    if own and earlier[0] and is_how_to(earlier[0]) and is_ellipsis(question):
        # "How do I connect Telegram?" and "And by mail?" make "How do I connect mail?".
        kept = earlier[0].rstrip("?!. ").rpartition(" ")[0]
        other = " ".join(word for word in words(alone.text) if stem(word) in own)
        merged.insert(0, Reading(f"{kept} {other}?", question, own, is_merged=True))
    return [*merged, alone] if is_ellipsis(question) or not own else [alone, *merged]


def fits_reading(statement: str, headings: str, reading: Reading, said: str) -> bool:
    """Whether a statement answers what a question adds to the one it goes on from.

    Args:
        said: the answer to the earlier question; it is no answer to a mere "Why?".
    """
    is_about_time = needs_previous(reading.question) and bool(_DURATION.search(reading.question))
    if is_about_time and not _TIME.search(statement):
        return False
    if not reading.is_merged:
        return True
    told = content_stems(statement if is_about_time else f"{headings} {statement}")
    if reading.added:
        return 2 * len(reading.added & told) >= len(reading.added)
    if 2 * len(reading.topic & told) <= len(reading.topic):
        return False
    if asks_number(reading.question):
        return bool(_LOOSE_NUMBER.search(statement))
    if _WHY.search(reading.question):
        return bool(_REASON.search(statement))
    held = content_stems(statement)
    return 2 * len(held & content_stems(said)) <= len(held)


def asks_number(question: str) -> bool:
    """Whether a question wants a number or a time for an answer."""
    return bool(_ASKS_NUMBER.search(question))


def is_question_begun(text: str) -> bool:
    """Whether a text begins with a question word of English or another language."""
    return bool(_QUESTION_WORD.match(text)) or foreign_question(text) is not None


def _own_content(question: str) -> frozenset[str]:
    return frozenset(content_stems(question) - _OPEN_WORDS)
