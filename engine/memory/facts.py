"""Simple facts that people tell about themselves, found by rules in their own words.

Conservative on purpose: a fact that was missed can be told again, a wrong one is repeated for months.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engine.output import visible
from engine.text import content_stems

_MAX_VALUE_CHARS = 80
_MAX_TEXT_CHARS = 4000
_MAX_FACTS_PER_MESSAGE = 6

_NAME = r"(?P<value>[^\W\d_][\w'’.\-]*(?: (?!from\b)[^\W\d_][\w'’.\-]*){0,3})"
_CAPITALISED = r"(?P<value>(?-i:[A-ZÀ-ÞŁŚŽČ\u0400-\u042f\u0900-\U0010ffff])[\w'’.\-]*(?: (?!from\b)[^\W\d_][\w'’.\-]*){0,2})"
_VALUE = r"(?P<value>[\w][\w '’.,&/+\-]{0,120})"
_END = r"\s*(?:,.*)?$"

_HELLO = (
    r"(?:hi|hello|hey|good (?:morning|afternoon|evening|day)|dear \w+|hallo|hola|bonjour|ciao|namaste|olá|oi)"
    r"(?: there)?[\s,!.-]+"
)
_FILLER = (
    r"(?:well|so|and|but|actually|no|yes|sorry|oh|ok|okay|please|by the way|also|just so you know"
    r"|(?:remember|note) that)[,\s]+"
)
_GREETING = re.compile(rf"^(?:{_HELLO}|{_FILLER})+", re.IGNORECASE)
_INTRODUCTION = re.compile(
    rf"\s*{_HELLO}(?:i am|i'm|this is) {_CAPITALISED}(?=\s*(?:[.,!;\n]|$| and | from ))", re.IGNORECASE
)
_TITLE = r"(?<!\bdr)(?<!\bmr)(?<!\bms)(?<!\bst)(?<!\bmrs)(?<!\bprof)(?<!\b[a-z])"
"""What a full stop belongs to without ending anything."""
_CLAUSE = re.compile(
    rf"{_TITLE}\.(?=\s|$)|[!?;:\n।。！？](?=\s|$)"
    r"|[,\s]+(?:and|but|so|und|y|et|e|aber)\s+"
    r"(?=(?:i|i'm|my|you|ich|mein\w*|wohne|lebe|je|mon|me|mi|io|vivo|abito|please)\b)"
    r"|,\s+(?=(?:i|my|please|can|could|how|what|where|who|when)\b)",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"\"[^\"\n]*\"|“[^”\n]*”|«[^»\n]*»|„[^“”\n]*[“”]|```.*?```|`[^`\n]*`", re.DOTALL)
_NOT_A_NAME = frozenset(
    re.findall(
        r"\w+",
        """a an the not no none on in at of to for with is was will would and or but so very really just only too
        also here there back later again now soon unknown irrelevant important private secret anonymous yours mine
        your my his her its their our this that what when where which who how why if because maybe asap tomorrow
        today tonight sure sorry sad happy tired hungry ready busy fine good great okay ok new lost stuck spelled
        spelt written misspelled wrong incorrect correct right changed taken used crazy stupid mad interested
        german french indian american british english spanish italian dutch portuguese russian chinese japanese
        korean polish turkish greek irish scottish welsh canadian australian mexican brazilian swiss austrian
        swedish norwegian danish finnish ukrainian european african asian goan konkani""",
    )
)
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


def _is_name(value: str) -> bool:
    first = value.split(maxsplit=1)[0].lower().strip(".'’")
    return first not in _NOT_A_NAME and 1 <= len(value) <= 60 and not first.endswith("ing")


def _is_place_or_work(value: str) -> bool:
    first = value.split(maxsplit=1)[0].lower()
    is_open = first in _NOT_A_NAME - {"a", "an", "the", "new"}
    return not is_open and bool(content_stems(value)) and len(value) <= _MAX_VALUE_CHARS


def _rule(key: str, pattern: str, fact: str, is_value: Callable[[str], bool] = _is_place_or_work) -> _Rule:
    return _Rule(key, re.compile(rf"^{pattern}{_END}", re.IGNORECASE), fact, is_value)


_NAME_FACT = "The user's name is {value}."
_RULES = (
    _rule(
        "name",
        rf"(?:my|the) (?:full |first )?name(?:'s| is)(?: actually| now)? {_NAME}",
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
    _rule(
        "name", rf"(?:ich hei(?:ß|ss)e|mein name ist|ich bin der|ich bin die) {_NAME}", _NAME_FACT, _is_name
    ),
    _rule("name", rf"(?:me llamo|mi nombre es) {_NAME}", _NAME_FACT, _is_name),
    _rule("name", rf"(?:je m['’]appelle|mon nom est|mon prénom est) {_NAME}", _NAME_FACT, _is_name),
    _rule("name", rf"(?:mi chiamo|il mio nome è) {_NAME}", _NAME_FACT, _is_name),
    _rule("name", rf"(?:(?:eu )?me chamo|o? ?meu nome é) {_NAME}", _NAME_FACT, _is_name),
    _rule("name", rf"(?:ik heet|mijn naam is) {_NAME}", _NAME_FACT, _is_name),
    _rule("name", r"मेरा नाम (?P<value>\S+(?: \S+){0,2}) है", _NAME_FACT, _is_name),
    _rule("name", r"म्हजें नांव (?P<value>\S+(?: \S+){0,2}?)(?: आसा)?", _NAME_FACT, _is_name),
    _rule("name", r"меня зовут (?P<value>[^\W\d_]+(?: [^\W\d_]+){0,2})", _NAME_FACT, _is_name),
    _rule("home", rf"i (?:now |currently )?live in {_VALUE}", "The user lives in {value}."),
    _rule("home", rf"i(?: have|'ve)? moved to {_VALUE}", "The user lives in {value}."),
    _rule("home", rf"ich wohne in {_VALUE}", "The user lives in {value}."),
    _rule("origin", rf"(?:i am|i'm|i come) (?:originally )?from {_VALUE}", "The user is from {value}."),
    _rule("work", rf"i (?:now |currently )?work as {_VALUE}", "The user works as {value}."),
    _rule("employer", rf"i (?:now |currently )?work (?:at|for) {_VALUE}", "The user works at {value}."),
    _rule("work", rf"my (?:job|profession) is {_VALUE}", "The user's job is {value}."),
    _rule("birthday", rf"my birthday is (?:on )?{_VALUE}", "The user's birthday is {value}."),
    _rule("age", r"(?:i am|i'm) (?P<value>\d{1,3}) years old", "The user is {value} years old."),
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
    ("The user is ", "You are "),
)


def learn_facts(text: str) -> dict[str, str]:
    """Find what a person tells about themselves.

    Args:
        text: what this person wrote, without quoted text.

    Returns: key to sentence, such as `name` to "The user's name is Omdeep."; a later statement replaces an
        earlier one of the same key. Never more than a few, each short and of letters and plain punctuation.
    """
    own = _own_words(text)
    facts: dict[str, str] = {}
    if (match := _INTRODUCTION.match(own)) and _is_name(match.group("value")):
        facts["name"] = _NAME_FACT.format(value=match.group("value"))
    for clause in _clauses(own):
        for rule in _RULES:
            if (match := rule.pattern.match(clause)) and (fact := _fact(rule, match)):
                facts[fact[0]] = fact[1]
                break
        if len(facts) >= _MAX_FACTS_PER_MESSAGE:
            break
    return facts


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


def _own_words(text: str) -> str:
    lines = (line for line in visible(text).splitlines() if not line.lstrip().startswith((">", "|")))
    return _QUOTED.sub(" … ", "\n".join(lines))[:_MAX_TEXT_CHARS]


def _clauses(own: str) -> list[str]:
    found: list[str] = []
    start = 0
    for end in _CLAUSE.finditer(own):
        # A question states nothing: "Is my name Bob?" and "my name is Bob, right?" are both left alone.
        if not end.group().startswith(("?", "？")):
            found.append(own[start : end.start()])
        start = end.end()
    found.append(own[start:])
    return [_GREETING.sub("", " ".join(clause.split())) for clause in found if clause.strip()]


def _fact(rule: _Rule, match: re.Match[str]) -> tuple[str, str] | None:
    value = _TAIL.sub("", match.group("value")).strip(" ,.'’-")
    if not value or len(value) > _MAX_VALUE_CHARS or not rule.is_value(value):
        return None
    if rule.key == "name" and value.isascii() and value.islower():
        value = value.title()
    kind = match.groupdict().get("kind", "").lower()
    key = f"{rule.key} {kind}".strip()
    return key, rule.fact.format(value=value, kind=kind)
