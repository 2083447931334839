"""Numbers as people write them in different languages, read exactly; what could mean two numbers is none."""

import re
import unicodedata
from fractions import Fraction
from functools import lru_cache

NUMBER = r"(?<![\d.,'’])[-−+]?(?:\d[\d.,'’\u00a0\u202f\u2009]*\d|\d|\.\d+)(?![\d])"
"""A number with its separators; what they mean `read_number` decides."""
MAX_DIGITS = 30
_SPACES = "\u00a0\u202f\u2009'’"
_WORDS = {
    word: number
    for number, word in enumerate(
        re.findall(
            r"\w+",
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
            " eighteen nineteen twenty",
        )
    )
} | {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_WORDS |= {
    f"{ten}{between}{one}": _WORDS[ten] + _WORDS[one]
    for ten in ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
    for one in ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    for between in "- "
}
NUMBER_WORD = rf"(?:{'|'.join(sorted(_WORDS, key=len, reverse=True))})"


@lru_cache(maxsize=64)
def decimal_mark(language: str) -> str:
    """Return what a language puts before the decimals; empty where the language is not known.

    Source: the number symbols of Unicode's CLDR, as Babel carries them.
    """
    # Costs 40 ms, which only a message with a calculation in it pays.
    from babel import Locale, UnknownLocaleError  # noqa: PLC0415
    from babel.numbers import get_decimal_symbol  # noqa: PLC0415

    try:
        mark = get_decimal_symbol(Locale.parse(language, sep="-"), numbering_system="latn")
    except (ValueError, TypeError, UnknownLocaleError):
        return ""
    return mark if mark in ".," else ""


def plain_digits(text: str) -> str:
    """Write digits of any script as 0 to 9, and the marks between them as ASCII."""
    digits = (
        str(unicodedata.digit(char)) if not char.isascii() and char.isdecimal() else char for char in text
    )
    return "".join(digits).translate({0x066B: ".", 0x066C: ",", 0xFF0E: ".", 0xFF0C: ","})


def read_number(text: str, language: str) -> Fraction | None:
    """Read a number as a language writes it.

    Args:
        text: digits with separators, or an English word up to ninety-nine.
        language: BCP 47 tag; empty where it is not known.

    Returns: None where it is no number, too long, or could mean two numbers: 1.234 in no language.
    """
    if (word := _WORDS.get(text.lower())) is not None:
        return Fraction(word)
    sign = -1 if text[:1] in "-−" else 1
    digits = text.lstrip("+-−")
    if sum(map(str.isdigit, digits)) > MAX_DIGITS:
        return None
    if any(space in digits for space in _SPACES):
        if not re.fullmatch(rf"\d{{1,3}}(?:[{_SPACES}]\d{{3}})+(?:[.,]\d+)?", digits):
            return None
        digits = re.sub(rf"[{_SPACES}]", "", digits)
        digits = digits.replace(",", ".")
        return sign * Fraction(digits)
    plain = _pointed(digits, decimal_mark(language) if language else "")
    return None if plain is None else sign * Fraction(plain)


def _pointed(digits: str, mark: str) -> str | None:
    """Write a number with a point before its decimals and nothing else between its digits."""
    points, commas = digits.count("."), digits.count(",")
    if not points + commas:
        return digits if digits.isdigit() else None
    if points and commas:
        last = max(digits.rfind("."), digits.rfind(","))
        group = "," if digits[last] == "." else "."
        whole, decimals = digits[:last], digits[last + 1 :]
        is_grouped = re.fullmatch(rf"\d{{1,3}}(?:\{group}\d{{3}})+", whole)
        return f"{whole.replace(group, '')}.{decimals}" if is_grouped and decimals.isdigit() else None
    separator = "." if points else ","
    parts = digits.split(separator)
    looks_grouped = bool(re.fullmatch(rf"[1-9]\d{{0,2}}(?:\{separator}\d{{3}})+", digits))
    if len(parts) > 2:
        return "".join(parts) if looks_grouped else None
    if looks_grouped:
        if not mark:
            return None
        return digits.replace(separator, ".") if separator == mark else "".join(parts)
    return digits.replace(separator, ".")


def write_number(value: Fraction, language: str) -> tuple[str, bool]:
    """Write a number without grouping.

    Returns: the text, and whether it is exact; where it is not, it is rounded half to even at six decimals or, below
    one, at six significant ones.
    """
    mark = (decimal_mark(language) if language else "") or "."
    size = abs(value)
    decimals = _exact_decimals(size.denominator)
    is_exact = decimals is not None and decimals <= 12
    if not is_exact:
        decimals = 6
        bound = Fraction(1, 10)
        while size and size < bound and decimals < 24:
            decimals, bound = decimals + 1, bound / 10
    places = decimals or 0
    scaled = round(size * 10**places)
    digits = str(scaled).rjust(places + 1, "0")
    whole, fraction = (digits[:-places], digits[-places:].rstrip("0")) if places else (digits, "")
    sign = "-" if value < 0 and scaled else ""
    return sign + whole + (mark + fraction if fraction else ""), is_exact


def _exact_decimals(denominator: int) -> int | None:
    """Count the decimals of a fraction with this denominator; None where they never end."""
    twos = fives = 0
    while denominator % 2 == 0:
        denominator, twos = denominator // 2, twos + 1
    while denominator % 5 == 0:
        denominator, fives = denominator // 5, fives + 1
    return max(twos, fives) if denominator == 1 else None
