"""How a person writes, by simple counts over their own messages, and how they want to be answered.

Nothing of what they wrote is kept, only numbers; `/style` shows them and `/style off` ends it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from engine.memory.clauses import own_words
from engine.output import visible
from engine.text import words

Length = Literal["short", "medium", "long"]
Tone = Literal["formal", "informal", "neutral"]

LEAST_MESSAGES = 3
"""Before so many nothing is concluded."""
_MOST_MESSAGES = 60
"""Counts are halved then, so that what is new weighs more."""
_SHORT_WORDS, _LONG_WORDS = 8, 25
"""Mean words of a message: a line on a phone, and a paragraph."""
_TONE_SHARE = 0.25
"""Of the messages that have to show a tone, beyond those that show the other one."""
_LANGUAGE_SHARE = 0.6
_MAX_READ_CHARS = 4000
_LEAST_HITS = 2

LANGUAGES = {
    "en": "English",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "it": "Italian",
    "pt": "Portuguese",
    "nl": "Dutch",
    "pl": "Polish",
    "sv": "Swedish",
    "da": "Danish",
    "tr": "Turkish",
    "ru": "Russian",
    "uk": "Ukrainian",
    "el": "Greek",
    "ar": "Arabic",
    "he": "Hebrew",
    "hi": "Hindi",
    "th": "Thai",
    "ko": "Korean",
    "ja": "Japanese",
    "zh": "Chinese",
}
_OWN_NAMES = {
    "deutsch": "de",
    "français": "fr",
    "español": "es",
    "italiano": "it",
    "português": "pt",
    "nederlands": "nl",
    "polski": "pl",
    "svenska": "sv",
    "dansk": "da",
    "türkçe": "tr",
    "русский": "ru",
    "українська": "uk",
    "ελληνικά": "el",
    "العربية": "ar",
    "עברית": "he",
    "हिन्दी": "hi",
    "한국어": "ko",
    "日本語": "ja",
    "中文": "zh",
}
_COMMON = {
    "en": "the and is are of to in you it that for with this what how do does can my have not was i'm i be on at please",
    "de": "der die das und ist sind nicht ich du sie wir ein eine einen mit für wie was kann mein zu auf den von im bitte es",
    "fr": "le la les et est sont je tu vous nous un une des du pour avec comment que quoi mon ma pas dans ce cette sur",
    "es": "el la los las y es son yo tú usted un una de para con cómo qué mi no en por está puedo quiero del al gracias",
    "it": "il lo la gli e è sono io tu un una di per con come che cosa mio mia non in questo posso del della grazie",
    "pt": "o a os as e é são eu você um uma de para com como que meu minha não em do da posso isso obrigado obrigada está",
    "nl": "de het een en is zijn ik je jij u wij van voor met hoe wat mijn niet in dat kan op te naar graag",
    "pl": "i jest są ja ty nie w na z do jak co czy mój moja to się że proszę jestem dla po od mogę",
    "sv": "och är jag du vi en ett det den inte för med hur vad min mitt kan på till av som har",
    "da": "og er jeg du vi en et det den ikke for med hvordan hvad min mit kan på til af som har",
    "tr": "ve bir bu ben sen biz ne nasıl için ile değil mi mı var yok benim çok lütfen nerede",
}
_WORDS = {code: frozenset(listed.split()) for code, listed in _COMMON.items()}
_LETTERS = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("ko", re.compile(r"[\uac00-\ud7af\u1100-\u11ff]")),
    ("zh", re.compile(r"[\u4e00-\u9fff]")),
    ("uk", re.compile(r"[іїєґІЇЄҐ]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
)
"""Writing systems that tell the language, more or less; Japanese before Chinese and Ukrainian before Russian, whose
letters they share."""
_SHARED = {"ja": re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]"), "uk": re.compile(r"[\u0400-\u04ff]")}
_FORMAL = re.compile(
    r"\b(?:could you|would you|may i|kindly|i would like|i should like|dear (?:sir|madam|mr|ms|team)|sincerely|regards|yours"
    r"|könnten sie|würden sie|ihnen|ihre[nrms]?|sehr geehrte\w*|mit freundlichen grüßen|pourriez-vous|veuillez|vous|cordialement"
    r"|usted|podría|estimad[oa]s?|potrebbe|gentile|distinti saluti|poderia|prezad[oa])\b",
    re.IGNORECASE,
)
_INFORMAL = re.compile(
    r"\b(?:hey|hiya|yo|sup|u|ur|r u|thx|ty|pls|plz|lol|lmao|omg|idk|btw|gonna|wanna|gotta|kinda|cool|yeah|yep|nope|dude|mate|bro"
    r"|haha+|du|dir|dich|dein\w*|mir mal|tu|toi|te|salut|hola|ciao|oi|tá|né)\b|!{2,}|\?{2,}|[:;]-?[)DPp(]|[\U0001f300-\U0001faff]",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How one person writes, and what they chose."""

    messages: int = 0
    """Messages counted, those of long ago for less."""
    words: int = 0
    formal: int = 0
    """Messages that show it."""
    informal: int = 0
    languages: Mapping[str, int] = field(default_factory=dict)
    """Messages by the code of their language, where it could be told."""
    chosen: Mapping[str, str] = field(default_factory=dict)
    """What they said with `/style`: `language`, `length`, `tone`, and `learning`, which may be `off`."""

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> "Style":
        """Read what `fields` wrote; whatever else stands there is as good as nothing."""
        languages = {
            name.removeprefix("in:"): count
            for name, value in fields.items()
            if name.startswith("in:") and name[3:] in LANGUAGES and (count := _count(value))
        }
        chosen = {
            name.removeprefix("chosen:"): value
            for name, value in fields.items()
            if name.startswith("chosen:") and value in _CHOICES.get(name.removeprefix("chosen:"), ())
        }
        counts = {name: _count(fields.get(name, "")) for name in ("messages", "words", "formal", "informal")}
        return cls(languages=languages, chosen=chosen, **counts)

    def fields(self) -> dict[str, str]:
        """Return it as the fields of a hash; a language that is not met any more stands as 0."""
        numbers = {name: getattr(self, name) for name in ("messages", "words", "formal", "informal")}
        numbers |= {f"in:{code}": count for code, count in self.languages.items()}
        chosen = {f"chosen:{name}": value for name, value in self.chosen.items()}
        return {name: str(number) for name, number in numbers.items()} | chosen

    @property
    def is_learning(self) -> bool:
        """Whether messages are counted."""
        return self.chosen.get("learning") != "off"

    @property
    def language(self) -> str:
        """Code of the language to answer in; empty where it is not known."""
        if chosen := self.chosen.get("language"):
            return chosen
        code, count = max(self.languages.items(), key=lambda pair: pair[1], default=("", 0))
        met = sum(self.languages.values())
        return code if met >= LEAST_MESSAGES and count >= _LANGUAGE_SHARE * met else ""

    @property
    def length(self) -> Length:
        """How long the person's messages are, or how long they want answers to be."""
        match self.chosen.get("length"):
            case "short":
                return "short"
            case "medium":
                return "medium"
            case "long":
                return "long"
        if self.messages < LEAST_MESSAGES:
            return "medium"
        mean = self.words / self.messages
        return "short" if mean < _SHORT_WORDS else "long" if mean > _LONG_WORDS else "medium"

    @property
    def tone(self) -> Tone:
        """How formal they are, or want to be answered."""
        match self.chosen.get("tone"):
            case "formal":
                return "formal"
            case "informal":
                return "informal"
            case "neutral":
                return "neutral"
        if self.messages < LEAST_MESSAGES:
            return "neutral"
        lean = (self.formal - self.informal) / self.messages
        return "formal" if lean >= _TONE_SHARE else "informal" if -lean >= _TONE_SHARE else "neutral"

    def learned_from(self, text: str) -> "Style":
        """Count one more message; commands, and words that are somebody else's, count for nothing."""
        own = own_words(visible(text)[:_MAX_READ_CHARS])
        said = words(own)
        if not self.is_learning or not said or text.lstrip().startswith("/"):
            return self
        halved = self._halved() if self.messages >= _MOST_MESSAGES else self
        languages = dict(halved.languages)
        if code := language_of(own):
            languages[code] = languages.get(code, 0) + 1
        is_formal, is_informal = bool(_FORMAL.search(own)), bool(_INFORMAL.search(own))
        return replace(
            halved,
            messages=halved.messages + 1,
            words=halved.words + len(said),
            formal=halved.formal + (is_formal and not is_informal),
            informal=halved.informal + (is_informal and not is_formal),
            languages=languages,
        )

    def joined(self, other: "Style") -> "Style":
        """Add what the same person showed elsewhere; what they chose here goes before it."""
        languages = dict(self.languages)
        for code, count in other.languages.items():
            languages[code] = languages.get(code, 0) + count
        return Style(
            messages=self.messages + other.messages,
            words=self.words + other.words,
            formal=self.formal + other.formal,
            informal=self.informal + other.informal,
            languages=languages,
            chosen={**other.chosen, **self.chosen},
        )

    def instruction(self) -> str:
        """Return the one line that a prompt holds of it; empty where there is nothing to say."""
        if not self.is_learning and not {"language", "length", "tone"} & self.chosen.keys():
            return ""
        parts = []
        if (code := self.language) and code != "en":
            parts.append(f"in {LANGUAGES[code]}")
        if self.length != "medium":
            parts.append({"short": "briefly", "long": "in detail"}[self.length])
        if self.tone != "neutral":
            parts.append({"formal": "formally", "informal": "informally"}[self.tone])
        return f"Answer {', '.join(parts)}." if parts else ""

    def _halved(self) -> "Style":
        return replace(
            self,
            messages=self.messages // 2,
            words=self.words // 2,
            formal=self.formal // 2,
            informal=self.informal // 2,
            languages={code: count // 2 for code, count in self.languages.items()},
        )


_CHOICES: dict[str, frozenset[str]] = {
    "language": frozenset({*LANGUAGES, ""}),
    "length": frozenset({"short", "medium", "long", ""}),
    "tone": frozenset({"formal", "informal", "neutral", ""}),
    "learning": frozenset({"on", "off"}),
}
_WORD_CHOICES = {
    **{word: ("length", word) for word in ("short", "medium", "long")},
    "brief": ("length", "short"),
    "detailed": ("length", "long"),
    **{word: ("tone", word) for word in ("formal", "informal", "neutral")},
    "on": ("learning", "on"),
    "off": ("learning", "off"),
}
AUTOMATIC = {"language": "", "length": "", "tone": "", "learning": "on"}
"""What `/style auto` chooses: nothing, and to learn."""


def choice_of(said: str) -> dict[str, str]:
    """Read what stands behind `/style`; empty where nothing of it is known."""
    chosen: dict[str, str] = {}
    for word in said.lower().replace(",", " ").split():
        if word in ("auto", "reset", "default"):
            chosen |= AUTOMATIC
        elif word in _WORD_CHOICES:
            name, value = _WORD_CHOICES[word]
            chosen[name] = value
        elif code := _code_of(word):
            chosen["language"] = code
        elif word not in ("in", "and", "language", "answer", "be", "please"):
            return {}
    return chosen


def language_of(text: str) -> str:
    """Tell the language of a text by its letters and its most common words.

    Returns: a code of `LANGUAGES`; empty where it is too short to tell, or lies between two.
    """
    alphabetic = sum(char.isalpha() for char in text)
    for code, letters in _LETTERS:
        # One letter tells these from the languages whose writing they share, where most of the text is in that.
        script = _SHARED.get(code, letters)
        if letters.search(text) and 2 * len(script.findall(text)) >= alphabetic > 0:
            return code
    said = words(text)
    hits = sorted(
        ((sum(word in common for word in said), code) for code, common in _WORDS.items()), reverse=True
    )
    (most, code), (second, _) = hits[0], hits[1]
    return code if most >= _LEAST_HITS and most > second else ""


def _code_of(word: str) -> str:
    if word in LANGUAGES:
        return word
    names = {name.lower(): code for code, name in LANGUAGES.items()}
    return names.get(word) or _OWN_NAMES.get(word, "")


def _count(value: str) -> int:
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 9 else 0
