"""What stands around a calculation in a question: "Could you tell me what ... is?", in the languages people write."""

import re
from dataclasses import dataclass

from engine.symbolic.numerals import plain_digits

_POLITE = re.compile(
    r"(?:hi|hello|hey|ok|okay|so|and|please|now|then|well|hallo|bitte|hola|por favor|bonjour|salut|s'il (?:vous|te) pla[iî]t"
    r"|ciao|per favore|ol[áa]|hoi|cze[śs][ćc]|proszę|привет|пожалуйста)\b(?:[\s,!:]|\.(?!\d))*"
    r"|(?:can|could|would|will) you (?:please |quickly )?(?:tell me |work out |figure out |help me with )?"
    r"|(?:do you know|tell me|i (?:need|want|would like|'d like) to know|quick question:?|kannst du mir sagen,?)[\s,:]+",
    re.IGNORECASE,
)
_THANKS = re.compile(
    r"[\s,]+(?:please|thanks|thank you|bitte|danke|por favor|merci|per favore)$", re.IGNORECASE
)
_BLANKS = re.compile(r"[ \t\r\n]+")
"""Narrow and unbreakable ones stay: they group digits."""
_SPACED = re.compile(r"\d\s[-−–/]\s\d")
_END = " \t\n?.!=¿¡？。।؟"


@dataclass(frozen=True, slots=True)
class Framed:
    """A question without what stands around it."""

    text: str
    """What is left of it, spaces single."""
    language: str
    """BCP 47 tag: of the words around it, else of the message; empty where neither tells."""
    is_asked: bool
    """Whether words say that something is to be computed; without, it may be a telephone number."""


_BEFORE = {
    "en": r"(?:what(?:'s| is| are| does| do)?|how much (?:is|are)|calculate|compute|work out|evaluate|solve)(?: the (?:result|value) of)?",
    "de": r"(?:was (?:ist|sind|ergibt|ergeben|macht)|wie ?viel (?:ist|sind|ergibt|macht)|berechne|rechne|was gibt)",
    "es": r"(?:cu[áa]nto (?:es|son|da|vale|suma)|qu[ée] (?:es|da)|calcula|calcule|calcular)",
    "fr": r"(?:combien (?:font|fait|vaut|valent)|que (?:vaut|font|fait)|calcule[rz]?|quel est le résultat de|combien)",
    "it": r"(?:quanto (?:fa|fanno|è)|quant'è|calcola|calcolare)",
    "pt": r"(?:quanto (?:é|e|são|dá|da)|calcule|calcular)",
    "nl": r"(?:hoeveel is|wat is|bereken)",
    "pl": r"(?:ile (?:to jest|to|jest|wynosi|będzie)|oblicz|policz)",
    "ru": r"(?:сколько будет|сколько это|посчитай(?:те)?|вычисли(?:те)?|чему равно)",
    "ar": r"(?:كم يساوي|ما هو ناتج|ما ناتج|احسب|كم)",
    "zh": r"(?:请问|计算|请计算|算一下)",
    "hi": r"(?:गणना करो|हिसाब करो)",
}
_BEHIND = {
    "en": r"(?:equals?|is|makes?|come to|equal to)(?: what| how much)?",
    "hi": r"(?:कितना (?:है|होता है|होगा)|क्या है|कितने होते हैं)",
    "zh": r"(?:等于多少|是多少|等于几|等於多少|=多少)",
    "ar": r"(?:يساوي كم|كم يساوي)",
    "ru": r"(?:сколько будет|равно)",
}
_BEFORE_FRAMES = [
    (language, re.compile(rf"{words}[\s:]+(?P<rest>.+)", re.IGNORECASE))
    for language, words in _BEFORE.items()
]
_NO_LETTER = r"(?<![^\W\d_])"
_BEHIND_FRAMES = [
    # "Paris" does not end in a question's "is"; Chinese alone puts nothing between words.
    (language, re.compile(rf"(?P<rest>.+?)\s*{_NO_LETTER * (language != 'zh')}{words}", re.IGNORECASE))
    for language, words in _BEHIND.items()
]


def unframed(question: str, language: str) -> Framed:
    """Take politeness and the question's own words away.

    Args:
        language: BCP 47 tag of the message; empty where it is not known.
    """
    text = _trimmed(_BLANKS.sub(" ", plain_digits(question).replace("’", "'")))
    ending = question.rstrip().rstrip("?").rstrip()
    is_asked = ending.endswith("=") or (ending != question.rstrip() and bool(_SPACED.search(text)))
    while (
        shorter := _THANKS.sub("", _POLITE.sub("", text, count=1) if _POLITE.match(text) else text)
    ) != text:
        text = _trimmed(shorter)
    for tag, frame in _BEFORE_FRAMES + _BEHIND_FRAMES:
        if match := frame.fullmatch(text):
            rest = match["rest"]
            if behind := next((both for other, both in _BEHIND_FRAMES if other == tag), None):
                rest = found["rest"] if (found := behind.fullmatch(rest)) else rest
            # What a person wrote before tells more than a word that two languages share.
            kept = language if language.partition("-")[0] == tag else tag
            return Framed(_trimmed(rest), kept, True)
    return Framed(text, language, is_asked)


def _trimmed(text: str) -> str:
    """Take marks and blanks away at both ends; a point before a digit is part of a number."""
    bare = text.lstrip(_END)
    before = text[: len(text) - len(bare)]
    return ("." if before.endswith(".") and bare[:1].isdigit() else "") + bare.rstrip(_END)
