"""Question words of other languages, put into English: the documents and the embedding model are best at that.

Names and borrowed words ("Telegram", "Port", "documents") do the rest; answers stay quotes in the documents' own words.
"""

import re
from dataclasses import dataclass

from engine.text import words

_QUESTION_WORDS = {
    "how do I": "wie comment cómo como come hoe hvordan hur jak как",
    "where is": "wo où dónde donde dove onde waar hvor var gdzie где",
    "which": "welche welcher welches welchen quel quelle quels quelles cuál cual cuáles quale quali qual quais welke",
    "what is": "was que qu'est-ce qué cosa wat",
    "who": "wer qui quién quien chi quem wie's",
    "when": "wann quand cuándo cuando quando wanneer",
    "why": "warum wieso weshalb pourquoi perché waarom",
}
_ENGLISH = {word: english for english, listed in _QUESTION_WORDS.items() for word in listed.split()}
_SHARED = frozenset({"was", "var"})
"""Words that also begin English sentences."""
_SMALL_WORDS = frozenset(
    re.findall(
        r"[\w']+",
        """ich du er sie es wir ihr man der die das den dem des ein eine einen einem einer mein meine meinen dein ist sind
        wird werden kann könnte muss soll darf hat haben zu zum zur mit ohne für von vom im am auf aus bei und oder auch nicht
        je tu il elle on nous vous le la les un une de du des mon ma mes ton ta est sont peut peux pouvez puis dois faut
        a au aux avec sans pour dans sur en et ou pas ne se est-ce que qu'il
        yo tú él ella nosotros el los las una unos del mi mis tu es son está están puedo puede debo hay al con sin para
        por y o no se lo io noi gli i uno della dei delle mio mia è sono posso può devo ho con senza per nel e non si
        eu você nós os as um uma do da dos das meu minha são pode posso tem com sem em é não ik jij wij het een mijn kan
        moet zijn met zonder voor van en of niet""",
    )
)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A question in another language, as far as it can be put into English."""

    english: str
    content: tuple[str, ...]
    """The words that carry meaning, as they were written."""


def foreign_question(question: str) -> Foreign | None:
    """Recognise a question by its first word; None for English and for what is no question."""
    said = words(question)
    if len(said) < 2 or said[0] not in _ENGLISH:
        return None
    if said[0] in _SHARED and not any(
        word in _SMALL_WORDS - {"a", "i", "on", "no", "as", "do"} for word in said[1:]
    ):
        return None
    content = tuple(word for word in said[1:] if word not in _SMALL_WORDS)
    # Capital letters tell names from other words, but in German all nouns have them.
    return Foreign(f"{_ENGLISH[said[0]]} {' '.join(content)}?", content) if content else None
