"""Which language a mail is written in: by its script, else by the small words that are common in only a few of them."""

import re
from collections import Counter

from connectors.email.mail import ParsedMail

LOOKED_AT_CHARS = 4_000
LEAST_SHARE = 0.06
"""Of the words of a text; names and borrowed words of another language stay below it."""

_SMALL_WORDS = {
    "en": "the and of to is are was were do does did how what which where when why who can could would i you we they it"
    " my your this that with for not have has please thanks hello hi there from about",
    "de": "der die das und ist sind wie was wo wann warum wer kann können könnte ich sie wir ihr mein meine meinen ihre nicht"
    " mit für auf ein eine einen dem den des von zu zum zur haben hat bitte danke hallo guten geht gibt auch welche welcher"
    " welches beim",
    "es": "el los las y es son cómo como qué cuál dónde cuándo por porqué quién puedo puede pueden yo usted mi su con para no"
    " una un del que tengo tiene gracias hola está están se lo al muy favor",
    "fr": "le les et est sont comment quel quelle quels où quand pourquoi qui peut peux pouvez je vous nous mon ma mes votre"
    " avec pour pas une un du des que ne j'ai merci bonjour ce cette sur dans au aux est-ce qu'est-ce faut",
    "it": "il gli e è sono come che cosa quale dove quando perché chi posso può possono io lei mio mia con per non una un del"
    " della di ho ha grazie buongiorno ciao questo questa nel alla si ci",
    "pt": "o os as e é são como que qual onde quando porque quem posso pode podem eu você meu minha com para não uma um do da"
    " dos tenho tem obrigado obrigada olá isso este esta no na em ao por",
    "nl": "de het en is zijn hoe wat welke waar wanneer waarom wie kan kunnen ik u wij mijn met voor niet een van dat die heb"
    " heeft bedankt hallo goedendag er op te aan bij graag",
    "pl": "i jest są jak co który która gdzie kiedy dlaczego kto mogę może ja mój moja z dla nie na się to do czy proszę"
    " dziękuję dzień dobry mam w od po ten ta",
}
_WEIGHTS = {language: frozenset(words.split()) for language, words in _SMALL_WORDS.items()}
_KNOWN_BY = Counter(word for words in _WEIGHTS.values() for word in words)
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_SCRIPTS = (
    ("ru", re.compile("[\u0400-\u04ff]"), re.compile("[\u0404\u0406\u0407\u0454\u0456\u0457\u0490\u0491\u0402\u0452\u0408\u0458]")),
    ("hi", re.compile("[\u0900-\u097f]"), None),
    ("ar", re.compile("[\u0600-\u06ff]"), re.compile("[\u067e\u0686\u0698\u06a9\u06af\u06cc\u0679\u0688\u06d2]")),
    ("zh", re.compile("[\u4e00-\u9fff]"), re.compile("[\u3040-\u30ff\uac00-\ud7af]")),
)  # fmt: skip
"""Language, its letters, and letters that are there only in another language of the same script."""


def language_of_mail(mail: ParsedMail) -> str:
    """Return the language a mail is written in; where it says too little to tell, that of what it answers."""
    return language_of(f"{mail.subject}\n{mail.text}") or language_of(mail.quoted)


def language_of(text: str) -> str:
    """Return the language of a text as one of the tags that `phrases` knows, or an empty string."""
    text = text[:LOOKED_AT_CHARS]
    letters = sum(char.isalpha() for char in text)
    for language, own, foreign in _SCRIPTS:
        # A Chinese word has as many characters as a Latin one has syllables.
        share = 0.2 if language == "zh" else 0.5
        if len(own.findall(text)) > share * letters:
            return "" if foreign is not None and foreign.search(text) else language
    return _by_small_words([word.lower().replace("’", "'") for word in _WORD.findall(text)])


def _by_small_words(words: list[str]) -> str:
    scores = {
        # A word that several languages share says less about each of them.
        language: sum(1 / _KNOWN_BY[word] for word in words if word in known)
        for language, known in _WEIGHTS.items()
    }
    best, second = sorted(scores, key=lambda language: -scores[language])[:2]
    is_clear = scores[best] >= max(1.0, LEAST_SHARE * len(words)) and scores[best] > 1.2 * scores[second]
    return best if is_clear else ""
