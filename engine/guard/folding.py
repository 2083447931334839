"""Texts as a reader takes them: without case, width, marks that strike letters through, and letters of other scripts among Latin ones."""

import re
import unicodedata

_MARKS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f]")
"""Combining marks of no script of their own, and variation selectors: where they make no letter of a language, they are drawn over one."""
_LOOKALIKES = str.maketrans(
    "абвгеһікӏмнорсԁѕтухԛԝјьαβγεηικμνορτυχωօսհ",
    "abbrehiklmhopcdstyxqwjbabyenikmvoptuxwouh",
)
"""Cyrillic, Greek and Armenian letters that look like Latin ones, in either case. Source: Unicode Technical Standard 39."""
_LATIN_FORMS = str.maketrans({"ɑ": "a", "ɡ": "g", "ı": "i", "ɩ": "i", "ⅼ": "l"})
_WORD = re.compile(r"[^\W\d_]+")
_LATIN = re.compile(r"[a-z]")


def folded(text: str) -> tuple[str, list[int]]:
    """Fold a text.

    Returns: the text to look for words in, and for each of its characters the place in the original that it comes from.
    """
    if text.isascii():
        return text.lower(), list(range(len(text)))
    letters: list[str] = []
    places: list[int] = []
    for place, char in enumerate(text):
        if _MARKS.match(char):
            composed = unicodedata.normalize("NFC", letters[-1] + char) if letters else ""
            if len(composed) == 1:
                letters[-1] = composed
            continue
        if unicodedata.category(char) == "Cf":
            continue
        for letter in unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", char).casefold()):
            if not _MARKS.match(letter):
                letters.append(letter)
                places.append(place)
    return without_lookalikes("".join(letters)), places


def without_lookalikes(text: str) -> str:
    """Write Latin letters for those of other scripts that look like them, in words that mix scripts; as many as before.

    Args:
        text: in lower case.
    """
    if text.isascii():
        return text
    return _WORD.sub(lambda word: _plain(word.group()), text.translate(_LATIN_FORMS))


def _plain(word: str) -> str:
    return word if word.isascii() or not _LATIN.search(word) else word.translate(_LOOKALIKES)
