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
    "- `/stop` stops the answer I am writing, as if you had not asked.\n"
    "- `/new` starts over: I forget this conversation and what you told me about yourself.\n"
    "- `/memory` shows what I remember about you, with your own words; `/memory forget 2` and `/memory correct 2: Lisbon` change "
    "it, and `/forget` makes me forget all of it.\n"
    "- `/style` shows how I answer you, and `/style short` or `/style german` changes it; `/style off` stops me from learning it.\n"
    "- `/search_history` and some words finds what we talked about.\n"
    "- `/sources` shows where my last answer comes from.\n"
    "- `/model` shows which models can answer, and lets you choose one for this conversation.\n"
    "- `/link` lets me know you on another channel, too; `/unlink` takes that back.\n"
    "- `/help` shows this text.\n\n"
    'Tell me about yourself ("My name is Maria.", "I live in Goa.") and I remember it.'
)
FORGOTTEN = (
    "Done. I forgot this conversation and what you told me about yourself. What would you like to know?"
)
FORGOTTEN_ALL = (
    "Done. I forgot this conversation and what you told me about yourself, here and on every channel you linked. "
    "What would you like to know?"
)
REMEMBERED = (
    "This is what I remember about you:\n\n{facts}\n\n{style}"
    "Tell me what has changed, or send `/memory forget` or `/memory correct` with a number; `/forget` makes me forget everything."
)
NOTHING_REMEMBERED = (
    'I remember nothing about you yet. Tell me about yourself, for example "My name is Maria.", and I do.'
)
NO_SUCH_FACT = "I do not remember anything under this number. Send `/memory` to see what I remember."
FACT_FORGOTTEN = "Done. I forgot this: {fact}"
FACT_CORRECTED = "Done. From now on I remember: {fact}"
NOT_CORRECTED = "I did not understand the correction. Write what is true after the number: `/memory correct {number}: Lisbon`."
STYLE = (
    "This is how I answer you: {manner}.\n\n{learning}\n\n"
    "Change it with `/style`: a language such as `/style german`, `short`, `medium` or `long`, `formal`, `informal` or `neutral`; "
    "`/style auto` goes by your messages again, and `/style off` stops me from learning."
)
STYLE_LEARNED = "I learn it from your messages; {messages} count so far, and only numbers are kept of them."
STYLE_NOT_LEARNED = "I do not learn it from your messages."
STYLE_UNKNOWN = (
    "I do not know this way to answer. Try a language such as `/style german`, or `short`, `medium`, `long`, `formal`, "
    "`informal`, `neutral`, `auto`, `off`."
)
FOUND_IN_HISTORY = "This is what I found, the latest first:\n\n{found}"
NOT_FOUND_IN_HISTORY = "I found nothing about that in what we talked about."
SEARCH_WHAT = "Write the words to look for: `/search_history opening hours`."
NO_ARCHIVE = "What we talk about is not kept for search here."
SOURCES = "My last answer rests on these sources."
SOURCES_CHANGED = "Changed since then: {sources}. Ask me again to hear what it says now."
SOURCES_GONE = "No longer among my documents: {sources}."
NO_SOURCES = "My last answer rests on no document."
LINK_CODE = (
    "Your code is `{code}`. Within {minutes} minutes send me `/link {code}` on the other channel where you want me to know "
    "you. Show it to nobody else: whoever sends it is taken for you."
)
LINKED = "Done. I know you on both channels now: what you tell me about yourself on one I remember on the other. `/unlink` takes that back."
UNLINKED = (
    "Done. What you told me on your other channels is not known here any more, and the other way round."
)
NOT_LINKED = "This channel is not linked with another one."
CODE_UNKNOWN = "I do not know this code. It may be mistyped, too old or used already: send `/link` on the other channel for a new one."
CODE_OF_THIS_CHANNEL = "This code is from this very channel: send it to me on the other one."
TOO_MANY_CODES = "That were too many codes. Please try again in an hour."
LINK_IN_PRIVATE = "Please send me this in a private chat: here others would see your code."
LINK_UNVERIFIED = "I cannot be sure who you are on this channel, so I cannot link it."
STOPPED = "Stopped."
NOTHING_TO_STOP = "There was nothing to stop."
MODELS = (
    "These models can answer you:\n\n{models}\n\n"
    "Send `/model` and a name to let another one answer in this conversation, or `/model default` to go back."
)
MODEL_CHOSEN = "From now on the model `{name}` answers in this conversation. `/model default` takes it back."
MODEL_RESET = "From now on the model `{name}` answers again, as everywhere else."
NO_SUCH_MODEL = "There is no model `{name}`."
MODEL_UNAVAILABLE = (
    "I am sorry: the model that writes my answers cannot be loaded for now. Its operator has been told. "
    "Please try again later."
)
BLOCKED = "I may not answer this message: it holds a word that the operator of this service does not allow. Please write it without."
TOO_LONG = (
    "Your message is too long for me: I read {most} characters at most. Please send a shorter one, or a file."
)
UNKNOWN_COMMAND = "I do not know this command. Send /help to see what I can do."
NOT_IN_DOCUMENTS = "The documents do not say. Could you ask it in other words, or ask about something else?"
NOTHING_ABOUT = "I found nothing about: {questions}"
TOO_MANY_QUESTIONS = "I answer {most} questions at a time. Please ask these again: {questions}"
NO_WORDS = "There are no words in your message that I could answer. Please write your question."
ATTACHMENT_READ = "I have read {names}. Send your question together with the file, and I answer from it."
UNKNOWN_FACT = (
    'I do not know that about you yet. Tell me, for example "My name is Maria.", and I remember it.'
)
_LEARNED = "{facts} I will remember that."
_MET = "Nice to meet you, {name}! I will remember your name."

_WHAT_I_AM = (
    "I am an assistant: a small language model that runs on this machine, not a person. I answer from the documents I was "
    "given and name my sources."
)
_MAKER = "I do not know who set me up. I am Hubbub, an assistant that runs on its operator's own machine and answers from documents."

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
        r"(?: (?:so|very) much| a lot| again| for (?:your|the) help)*"
        r"(?:[\s,!.]+(?:you are|you're|that was|that is|that's|this is|it was)(?: (?:so|very|really|just))? \w+)?",
        "You are welcome{name}!",
    ),
    _talk(
        r"(?:ok(?:ay)?[\s,!.]+)?(?:good ?bye|bye(?:[- ]?bye)?|cu|cya|see (?:you|ya)(?: later| soon)?|good night|until next time|tschüss|auf wiedersehen|ciao ciao|arrivederci|até logo|adiós|au revoir)",
        "Goodbye{name}!",
    ),
    _talk(
        r"(?:ok(?:ay)?|great|perfect|cool|nice|alright|all right|got it|i see|understood|yes|no|sure)",
        "All right{name}. Ask me whenever you like.",
    ),
    _talk(
        rf"(?:{_GREETING}[\s,!.]+)?(?:who|what) (?:exactly )?(?:are|r) (?:you|u)|what(?:'s| is) your name|do you have a name"
        r"|are you (?:an? |really |even )*(?:human|real|robot|bot|chat ?bot|machine|computer|person|people|ai|llm|language model|alive|chat ?gpt)"
        r"|am i (?:talking|speaking|chatting|writing) (?:to|with) an? (?:human|robot|bot|machine|computer|person|ai|real person)"
        r"|wer bist du|was bist du|quién eres|qui es[- ]tu|chi sei|quem é você|wie heißt du",
        _WHAT_I_AM,
    ),
    _talk(
        r"who (?:made|created|built|wrote|programmed|developed|trained|owns|runs) you|where do you come from|where are you from"
        r"|who(?:'s| is) your (?:maker|creator|owner|boss|developer)",
        _MAKER,
    ),
    _talk(
        r"(?:can you |please )*(?:tell me|tell us|say|know|do you know)(?: me)? (?:a|another|any|some)?[ ]?(?:funny )?(?:jokes?|story|poem|riddle)"
        r"|(?:can you )?(?:sing|dance|make me laugh)(?: (?:me )?(?:a|me a) song| for me)?|(?:i am|i'm) bored|entertain me",
        "I am better at looking things up than at entertaining. Ask me something about the documents I have.",
    ),
    _talk(
        r"(?:do|can|would|will) you (?:like|love|hate|feel|sleep|eat|dream|marry|think|cry|believe)\b[\w ]{0,30}|i (?:love|like|miss|hate) you"
        r"|what(?:'s| is) your favou?rite \w+|how old are you|how was your day|are you (?:happy|sad|ok|okay|tired|bored|married|single)",
        "I have no feelings or likes of my own: I am a program. I am glad to answer your questions, though.",
    ),
    _talk(
        r"(?:you are|you're|u r|that was|that is|this is)(?: (?:so|very|really|just|quite))? (?:great|good|nice|cool|amazing|awesome|smart|clever|helpful|the best|perfect|useful|funny)"
        r"|well done|good (?:job|bot|work|answer)|i like (?:it|this|that)|amazing|awesome|wonderful|excellent",
        "Thank you{name}, that is kind of you!",
    ),
    _talk(
        r"(?:you are|you're)(?: (?:so|very|really))? (?:bad|stupid|useless|dumb|wrong|an idiot|annoying)|(?:that|this) (?:is|was) (?:wrong|bad|useless|not right|nonsense)",
        "I am sorry about that{name}. Ask me in other words, and look at the sources I name.",
    ),
    _talk(
        r"(?:happy|merry) (?:new year|christmas|birthday|easter|weekend|diwali|holidays)|good luck|have a (?:nice|good|great|lovely) (?:day|evening|weekend|night|one|time|trip)"
        r"|nice to meet you|pleased to meet you|take care|enjoy(?: your \w+)?",
        "Thank you{name}, the same to you!",
    ),
    _talk(
        r"(?:i am|i'm|i feel) (?:so |very |really |a bit )?(?:sad|tired|unhappy|lonely|sick|stressed|depressed|angry)|i had a (?:bad|hard|long|terrible) day",
        "I am sorry to hear that{name}. I am only a program, but if the documents I have can help, ask me.",
    ),
    _talk(
        r"(?:what|how) can you (?:do|help)(?: for me| me)?|what (?:do|are) you (?:do|know|able to do|good at|for)|what are your (?:skills|abilities|functions)|how do you work|was kannst du|qué puedes hacer|que peux[- ]tu faire|cosa sai fare|can you help(?: me)?|help(?: me)?(?: please)?",
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
