"""What the hub says in its own words: commands, greetings, thanks, and what it cannot answer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from engine.memory.facts import in_second_person, known_name

START = (
    "Hello! I answer questions from the documents I was given, and I show where each answer comes from. "
    "Tell me your name if you like: I remember it. Send /help to see what else I can do."
)
HELP = (
    "Ask me a question in your own words: I look it up in the documents and name my sources.\n\n"
    "- `/new` starts over: I forget this conversation and what you told me about yourself.\n"
    "- `/help` shows this text.\n\n"
    'Tell me about yourself ("My name is Maria.", "I live in Goa.") and I remember it.'
)
FORGOTTEN = (
    "Done. I forgot this conversation and what you told me about yourself. What would you like to know?"
)
UNKNOWN_COMMAND = "I do not know this command. Send /help to see what I can do."
NOT_IN_DOCUMENTS = "I could not find an answer to that in the documents I have. Could you ask it in other words, or ask about something else?"
NO_WORDS = "There are no words in your message that I could answer. Please write your question."
ATTACHMENT_READ = "I have read {names}. Send your question together with the file, and I answer from it."
UNKNOWN_FACT = (
    'I do not know that about you yet. Tell me, for example "My name is Maria.", and I remember it.'
)
_LEARNED = "{facts} I will remember that."
_MET = "Nice to meet you, {name}! I will remember your name."

_GREETING = r"(?:hi|hello|hey|hiya|good (?:morning|afternoon|evening|day)|greetings|hallo|hola|bonjour|salut|ciao|namaste|नमस्ते|olá|oi|привет)"


@dataclass(frozen=True, slots=True)
class SmallTalk:
    """A remark that needs no documents."""

    pattern: re.Pattern[str]
    answer: str
    """With `{name}`: a comma and the person's name where it is known."""


def _talk(pattern: str, answer: str) -> SmallTalk:
    return SmallTalk(re.compile(rf"(?:{pattern})[\s!.?,:)]*", re.IGNORECASE), answer)


_SMALL_TALK = (
    _talk(
        rf"{_GREETING}(?: there| again| everyone| all| assistant| bot)*",
        "Hello{name}! What would you like to know?",
    ),
    _talk(
        rf"(?:{_GREETING}[\s,!.]+)?(?:how are you(?: doing)?(?: today)?|how(?:'s| is) it going|what's up|wie geht(?:'s| es dir))",
        "I am fine, thank you{name}. What would you like to know?",
    ),
    _talk(
        r"(?:ok(?:ay)?|great|perfect|cool|nice)?[\s,!.]*(?:many )?(?:thanks?(?: you)?|thx|danke(?: schön)?|gracias|merci|obrigad[oa]|धन्यवाद)"
        r"(?: (?:so|very) much| a lot| again| for (?:your|the) help)*",
        "You are welcome{name}!",
    ),
    _talk(
        r"(?:good ?bye|bye(?: bye)?|see you(?: later| soon)?|good night|tschüss|adiós|au revoir)",
        "Goodbye{name}!",
    ),
    _talk(
        r"(?:ok(?:ay)?|great|perfect|cool|nice|alright|all right|got it|i see|understood|yes|no|sure)",
        "All right{name}. Ask me whenever you like.",
    ),
    _talk(
        rf"(?:{_GREETING}[\s,!.]+)?(?:who|what) (?:are|r) (?:you|u)|what(?:'s| is) your name|are you (?:a )?(?:human|real|robot|bot|machine|person|an ai)",
        "I am an assistant: a small language model that runs on this machine. I answer from the documents I was given and name my sources.",
    ),
    _talk(
        r"(?:what|how) can you (?:do|help)(?: for me| me)?|what do you (?:do|know)|how do you work|can you help(?: me)?|help(?: me)?(?: please)?",
        HELP,
    ),
)


def small_talk(text: str, facts: Mapping[str, str]) -> str | None:
    """Answer a greeting, thanks and the like; None where the text is anything else."""
    for talk in _SMALL_TALK:
        if talk.pattern.fullmatch(text.strip()):
            name = known_name(facts)
            return (
                talk.answer.format(name=f", {name}" if name else "")
                if "{name}" in talk.answer
                else talk.answer
            )
    return None


def acknowledgement(learned: Mapping[str, str]) -> str:
    """Say back what was learned from a statement."""
    if set(learned) == {"name"}:
        return _MET.format(name=known_name(learned))
    return _LEARNED.format(facts=" ".join(in_second_person(fact) for fact in learned.values()))
