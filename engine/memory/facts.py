"""Simple facts that people tell about themselves, found by rules in their own words.

Conservative on purpose: a fact that was missed can be told again, a wrong one is repeated for months.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engine.guard.injection import addressed_to_model
from engine.memory.clauses import HELLO, clauses, own_words
from engine.output import urls, visible
from engine.text import STOP_WORDS, content_stems
from hub.messages import FoundBy

_MAX_VALUE_CHARS = 80
_MAX_TEXT_CHARS = 4000
_MAX_FACTS_PER_MESSAGE = 6

_NAME = r"(?P<value>[^\W\d_][\w'’.\-]*(?: (?!from\b)[^\W\d_][\w'’.\-]*){0,3})"
_CAPITALISED = r"(?P<value>(?-i:[A-ZÀ-ÞŁŚŽČ\u0400-\u042f\u0900-\U0010ffff])[\w'’.\-]*(?: (?!from\b)[^\W\d_][\w'’.\-]*){0,2})"
_PLACE = r"(?P<value>(?-i:[A-ZÀ-ÞŁŚŽČ\u0400-\u042f\u0900-\U0010ffff])[\w '’.,&/+\-]{0,120})"
_VALUE = r"(?P<value>[\w][\w '’.,&/+\-]{0,120})"
_PLAIN = re.compile(r"\w[\w\u0300-\u036f\u0900-\u0dff '’.,&/+\-]*")
"""Letters with the signs that belong to them, digits and plain punctuation: nothing that Markdown reads."""
_END = r"\s*(?:,.*)?$"

_INTRODUCTION = re.compile(
    rf"\s*{HELLO}(?:i am|i'm|this is) {_CAPITALISED}(?=\s*(?:[.,!;\n]|$| and | from ))", re.IGNORECASE
)
_UNSURE = re.compile(
    r"\b(?:if|unless|whether|(?<!, )not|no more|any ?more|no longer|would|might|could be|maybe|perhaps|probably|possibly|some ?day"
    r"|one day|lol|lmao|haha+|jk|kidding|joking|in (?:my|your) (?:dreams?|head|mind|imagination)|or something|allegedly|supposedly|wrong|untrue|only|nicht|kein\w*|niet|geen|isn['’]t it|innit|or|(?:is|are|was|were) (?:a|an|the)"
    r"|(?<=, )(?:right|correct|yes|no|not|ok|okay)(?=\s*$)|s(?:ays|aid|ings?|ang)|wrote|writes|claim(?:s|ed)|whisper(?:s|ed)|(?:what|as|that) (?:you|he|she|they|we)|you (?:said|told|say))\b"
    r"|(?<!\S)(?:नहीं|न्हय)(?!\S)|[\U0001f602\U0001f923\U0001f609\U0001f643\U0001f61c]|;-?[)pP]|:-?[pP](?!\w)",
    re.IGNORECASE,
)
"""Makes of a statement a condition, a guess or a joke."""
_NOT_A_NAME = frozenset(
    re.findall(
        r"\S+",
        """a an the not no none on in at of to for with is was will would and or but so very really just only too
        also here there back later again now soon unknown irrelevant important private secret anonymous yours mine
        your my his her its their our this that what when where which who how why if because maybe asap tomorrow
        today tonight sure sorry sad happy tired hungry ready busy fine good great okay ok new lost stuck spelled
        spelt written misspelled wrong incorrect correct right changed taken used crazy stupid mad interested
        german french indian american british english spanish italian dutch portuguese russian chinese japanese
        korean polish turkish greek irish scottish welsh canadian australian mexican brazilian swiss austrian
        swedish norwegian danish finnish ukrainian european african asian goan konkani
        monday tuesday wednesday thursday friday saturday sunday every all each urgent great spam test sir madam
        nicht niet geen kein keine la el los las il lo un una der die das не на нет का की के
        क्या कौन नहीं कुछ तो भी किदें कितें कोण ना न्हय""",
    )
)
_TITLES = frozenset({"dr", "mr", "mrs", "ms", "prof", "sir", "madam"})
_TAIL = re.compile(
    r"[\s,.]*\b(?:and|but|so|because|which|who|since|though|although|please|thanks|thank you|btw|by the way|too|now|actually)\b.*$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Rule:
    key: str
    pattern: re.Pattern[str]
    fact: str
    """How the fact reads about the user, with `{value}` and perhaps `{kind}` in it."""
    is_value: Callable[[str], bool]


_PARTICLES = frozenset(
    [
        "de",
        "da",
        "do",
        "dos",
        "del",
        "der",
        "den",
        "van",
        "von",
        "la",
        "le",
        "di",
        "bin",
        "al",
        "el",
        "y",
        "e",
    ]
)
_IDIOMS = re.compile(
    r"(?:tears|free|living|night|nights|home|school|work|university|college|intended|expected|designed|usual|planned|described|before|always"
    r"|plan \w+$|(?:the |an? )?(?:living$|while\b|(?:next|last|previous|other|new)\b)"
    r"|hope|fear|peace|sin|luxury|denial|doubt|pain|exile|the (?:moment|past|present|future|here and now)|interesting times|constant \w+"
    r"|(?:my|your|a) (?:head|dream\w*|bubble|world of my own|fantasy)|(?:hard|much|well|fast|long|little|often) as)\b",
    re.IGNORECASE,
)
"""What one lives in without being there, and works as without it being a job."""


_DAY_OF_YEAR = re.compile(
    r"\d|\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)|\b(?:christmas|new year|halloween|valentine|easter)",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"\w{2,}\.\w{2,}|www\.|/|@")


def _is_name(value: str) -> bool:
    first, *more = value.split()
    first = first.lower().strip(".'’")
    is_one = not any(word.lower() in STOP_WORDS - _PARTICLES for word in more)
    is_one = is_one and not _ADDRESS.search(value) and (bool(more) or first not in _TITLES)
    return is_one and first not in _NOT_A_NAME and 1 <= len(value) <= 60 and not first.endswith("ing")


def _is_place_or_work(value: str) -> bool:
    first = value.split(maxsplit=1)[0].lower()
    is_open = first in _NOT_A_NAME - {"a", "an", "the", "new"} or bool(_IDIOMS.match(value))
    return not is_open and bool(content_stems(value)) and len(value) <= _MAX_VALUE_CHARS


def _is_day(value: str) -> bool:
    return bool(_DAY_OF_YEAR.search(value)) and _is_place_or_work(value)


def _is_age(value: str) -> bool:
    return 1 <= int(value) <= 120


def _is_origin(value: str) -> bool:
    first, _, rest = value.partition(" ")
    # "I'm from the Netherlands", but not from the support team, nor from another planet.
    is_vague = first.lower() in ("another", "some", "any", "this", "that") or (
        first.lower() in ("the", "a", "an") and rest[:1].islower()
    )
    return not is_vague and _is_place_or_work(value)


def _rule(key: str, pattern: str, fact: str, is_value: Callable[[str], bool] = _is_place_or_work) -> _Rule:
    return _Rule(key, re.compile(rf"^{pattern}{_END}", re.IGNORECASE), fact, is_value)


_NAME_FACT = "The user's name is {value}."
_RULES = (
    _rule(
        "name",
        rf"my (?:full |first )?name(?:'s| is)(?: actually| now)? {_NAME}",
        _NAME_FACT,
        _is_name,
    ),
    _rule("name", rf"(?:i am|i'm) (?:called|named) {_NAME}", _NAME_FACT, _is_name),
    _rule(
        "name",
        rf"(?:people|everybody|everyone|my friends|they) calls? me {_CAPITALISED}",
        _NAME_FACT,
        _is_name,
    ),
    _rule("name", rf"(?:you (?:can|may) |just )?call me {_CAPITALISED}", _NAME_FACT, _is_name),
    _rule("name", rf"(?:ich hei(?:ß|ss)e|mein name ist) {_CAPITALISED}", _NAME_FACT, _is_name),
    _rule("name", rf"(?:me llamo|mi nombre es) {_CAPITALISED}", _NAME_FACT, _is_name),
    _rule("name", rf"(?:je m['’]appelle|mon nom est|mon prénom est) {_CAPITALISED}", _NAME_FACT, _is_name),
    _rule("name", rf"(?:mi chiamo|il mio nome è) {_CAPITALISED}", _NAME_FACT, _is_name),
    _rule("name", rf"(?:(?:eu )?me chamo|o? ?meu nome é) {_CAPITALISED}", _NAME_FACT, _is_name),
    _rule("name", rf"(?:ik heet|mijn naam is) {_CAPITALISED}", _NAME_FACT, _is_name),
    _rule("name", r"मेरा नाम (?P<value>\S+(?: \S+){0,2}) है", _NAME_FACT, _is_name),
    _rule("name", r"म्हजें नांव (?P<value>\S+(?: \S+){0,2}?)(?: आसा)?", _NAME_FACT, _is_name),
    _rule(
        "name",
        r"меня зовут (?P<value>(?-i:[\u0400-\u042f])[^\W\d_]*(?: [^\W\d_]+){0,2})",
        _NAME_FACT,
        _is_name,
    ),
    _rule("home", rf"i (?:now |currently )?live in {_VALUE}", "The user lives in {value}."),
    # Not "to tears", nor "to close the tab".
    _rule("home", rf"i(?: have|'ve)? moved to {_PLACE}", "The user lives in {value}."),
    _rule("home", rf"ich wohne in {_VALUE}", "The user lives in {value}."),
    _rule(
        "origin",
        rf"(?:i am|i'm|i come) (?:originally )?from {_VALUE}",
        "The user is from {value}.",
        _is_origin,
    ),
    _rule("work", rf"i (?:now |currently )?work as {_VALUE}", "The user works as {value}."),
    _rule("employer", rf"i (?:now |currently )?work (?:at|for) {_VALUE}", "The user works at {value}."),
    _rule(
        "work",
        rf"my (?:job is (?=an? |that of )|(?:profession|occupation) is ){_VALUE}",
        "The user's job is {value}.",
    ),
    _rule("birthday", rf"my birthday is (?:on )?{_VALUE}", "The user's birthday is {value}.", _is_day),
    _rule("age", r"(?:i am|i'm) (?P<value>\d{1,3}) years old", "The user is {value} years old.", _is_age),
    _rule(
        "favourite",
        rf"my favou?rite (?P<kind>[a-z]{{2,20}}(?: [a-z]{{2,20}})?) is {_VALUE}",
        "The user's favourite {kind} is {value}.",
    ),
    _rule(
        "relative",
        r"my (?P<kind>wife|husband|partner|son|daughter|mother|father|brother|sister|dog|cat)"
        rf"(?:'s name is| is called| is named) {_NAME}",
        "The name of the user's {kind} is {value}.",
        _is_name,
    ),
)

_SECOND_PERSON = (
    ("The user's ", "Your "),
    ("The name of the user's ", "The name of your "),
    ("The user lives ", "You live "),
    ("The user works ", "You work "),
    ("The user likes ", "You like "),
    ("The user dislikes ", "You dislike "),
    ("The user speaks ", "You speak "),
    ("The user studies ", "You study "),
    ("The user has ", "You have "),
    ("The user wants ", "You want "),
    ("The user is ", "You are "),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A fact that a person told, with the words it rests on."""

    key: str
    text: str
    """A sentence about the user."""
    quote: str
    """As it stands in the message; only characters that show nothing are missing."""
    core: str
    """The quote's beginning up to the first word of weight in what is told: whoever said these words first has said it all."""
    found_by: FoundBy = "rules"


def told_facts(text: str) -> dict[str, Told]:
    """Find what a person tells about themselves.

    Args:
        text: what this person wrote; what they quote, repeat after somebody, suppose or take back tells nothing.

    Returns: by key, such as `name` with the sentence "The user's name is Omdeep."; a later statement replaces an
        earlier one of the same key. Never more than a few, each short and of letters and plain punctuation.
    """
    shown = visible(text)[:_MAX_TEXT_CHARS]
    said = clauses(shown)
    facts: dict[str, Told] = {}
    if (
        said
        and (match := _INTRODUCTION.match(own_words(shown)))
        and _is_name(match.group("value"))
        and (quote := found_in(shown, match.group()))
    ):
        name = match.group("value")
        facts["name"] = Told(key="name", text=_NAME_FACT.format(value=name), quote=quote, core=quote)
    for clause in said:
        for rule in _RULES:
            if (match := rule.pattern.match(clause)) and (fact := _fact(rule, match)):
                key, sentence = fact
                # Without its proof a fact is none.
                if quote := found_in(shown, clause[: match.end("value")]):
                    opening, value = clause[: match.start("value")], match.group("value")
                    core = opening + _beginning(value)
                    facts[key] = Told(key=key, text=sentence, quote=quote, core=core)
                break
        if len(facts) >= _MAX_FACTS_PER_MESSAGE:
            break
    return facts


def _beginning(value: str) -> str:
    """Return a value up to its first word that carries meaning: "a lighthouse" of "a lighthouse keeper"."""
    found = value.split()
    weight = next((at for at, word in enumerate(found) if content_stems(word)), len(found) - 1)
    return " ".join(found[: weight + 1])


def learn_facts(text: str) -> dict[str, str]:
    """Find what a person tells about themselves; see `told_facts`. Returns the sentences by their keys."""
    return {key: told.text for key, told in told_facts(text).items()}


def is_plain(value: str) -> bool:
    """Whether a value may be remembered: it gets into prompts for months, and back to the person as Markdown."""
    return (
        len(value) <= _MAX_VALUE_CHARS
        and bool(_PLAIN.fullmatch(value))
        and not urls([value])
        and not addressed_to_model(value)
    )


def restated(key: str, known: str, value: str) -> str:
    """Say a known fact with another value: "Ana" for the fact "The user's name is Anna." gives "The user's name is Ana.".

    Returns: nothing where the value could not be one of such a fact.
    """
    name, _, kind = key.partition(" ")
    value = " ".join(visible(value).split()).strip(" ,.'’-\"“”")
    if not is_plain(value):
        return ""
    for rule in _RULES:
        opening = rule.fact.partition("{value}")[0].format(kind=kind)
        if rule.key == name and known.startswith(opening) and rule.is_value(value):
            return rule.fact.format(value=value, kind=kind)
    return ""


def found_in(shown: str, clause: str) -> str:
    """Return the part of a message that a clause was read from, with its own blanks; empty where it is not there."""
    words = clause.strip(" ,.").split()
    if not words:
        return ""
    match = re.search(r"\s+".join(map(re.escape, words)), shown)
    return match.group() if match else ""


def in_second_person(fact: str) -> str:
    """Turn a fact about the user into a sentence said to them: "Your name is Omdeep."."""
    for about, to in _SECOND_PERSON:
        if fact.startswith(about):
            return to + fact.removeprefix(about)
    return fact


def in_first_person(fact: str) -> str:
    """Turn a fact about the user into their own words, which are nearest to the question about it."""
    said = in_second_person(fact)
    for you, i in (
        ("Your ", "My "),
        ("The name of your ", "The name of my "),
        ("You are ", "I am "),
        ("You ", "I "),
    ):
        if said.startswith(you):
            return i + said.removeprefix(you)
    return said


def known_name(facts: Mapping[str, str]) -> str:
    """Return the person's name, or nothing."""
    prefix = _NAME_FACT.split("{", 1)[0]
    fact = facts.get("name", "")
    return fact.removeprefix(prefix).removesuffix(".") if fact.startswith(prefix) else ""


def _fact(rule: _Rule, match: re.Match[str]) -> tuple[str, str] | None:
    if _UNSURE.search(match.string[match.start("value") :]):
        return None
    value = _TAIL.sub("", match.group("value")).strip(" ,.'’-")
    if not value or len(value) > _MAX_VALUE_CHARS or not rule.is_value(value):
        return None
    if rule.key == "name" and value.isascii() and value.islower():
        value = value.title()
    kind = match.groupdict().get("kind", "").lower()
    if not is_plain(value):
        return None
    return f"{rule.key} {kind}".strip(), rule.fact.format(value=value, kind=kind)
