"""Calculations with numbers and operators, exactly: never by `eval`, within limits of length, size and depth."""

import ast
import re
from collections.abc import Callable
from fractions import Fraction
from math import isqrt

from engine.symbolic.computed import Computed
from engine.symbolic.framing import Framed
from engine.symbolic.numerals import NUMBER, NUMBER_WORD, read_number, write_number

MAX_CHARS = 200
MAX_OPERANDS = 40
MAX_BITS = 4096
MAX_EXPONENT = 256
MAX_RESULT_DIGITS = 60
_OPERATORS = {
    "en": {
        r"plus": "+",
        r"minus": "-",
        r"times|multiplied (?:by|with)": "*",
        r"divided by": "/",
        r"to the power of|raised to(?: the power(?: of)?)?": "**",
        r"squared": "**2",
        r"cubed": "**3",
        r"modulo|mod": "%",
    },
    "de": {r"plus": "+", r"minus": "-", r"mal": "*", r"geteilt durch|durch": "/", r"hoch": "**"},
    "es": {r"m[áa]s": "+", r"menos": "-", r"por|multiplicado por": "*", r"dividido (?:por|entre)|entre": "/"},
    "fr": {r"plus": "+", r"moins": "-", r"fois|multiplié par": "*", r"divisé par|sur": "/"},
    "it": {r"più|piu": "+", r"meno": "-", r"per|moltiplicato per": "*", r"diviso(?: per)?": "/"},
    "pt": {r"mais": "+", r"menos": "-", r"vezes|multiplicado por": "*", r"dividido por": "/"},
    "nl": {r"plus": "+", r"min": "-", r"keer|maal": "*", r"gedeeld door": "/"},
    "pl": {
        r"plus|dodać": "+",
        r"minus|odjąć": "-",
        r"razy": "*",
        r"podzielić (?:przez|na)|podzielone przez": "/",
    },
    "ru": {r"плюс": "+", r"минус": "-", r"умножить на": "*", r"(?:раз|по)делить на": "/"},
    "hi": {r"जोड़|जमा": "+", r"घटा|माइनस": "-", r"गुणा": "*", r"भाग": "/"},
    "ar": {r"زائد": "+", r"ناقص": "-", r"ضرب|في": "*", r"على|مقسوم على": "/"},
    "zh": {r"加": "+", r"减|減": "-", r"乘以|乘": "*", r"除以": "/"},
}
_SIGNS = str.maketrans(
    {"×": "*", "·": "*", "⋅": "*", "∙": "*", "÷": "/", "−": "-", "–": "-", "⁄": "/", "∶": "/"}
)
_DASHES = str.maketrans("−–", "--")
_SQUARES = {"²": "**2", "³": "**3"}
_ROOT = re.compile(
    rf"(?:the )?square root of (?:the number )?(?P<number>{NUMBER})|√\s?(?P<sign>{NUMBER})", re.IGNORECASE
)
_CALLED = re.compile(
    rf"(?:the )?(?P<what>sum|product|difference|quotient) (?:of|between) (?P<a>{NUMBER}|{NUMBER_WORD}) and (?P<b>{NUMBER}|{NUMBER_WORD})",
    re.IGNORECASE,
)
_OTHER_SENSE = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}"  # dates
    r"|(?:1[89]|20)\d\d ?[-/] ?(?:1[89]|20)?\d\d"  # years from one to another, seasons
    r"|\(?\d+\)?(?:-\d+){2,}|\+\d[\d ()-]*|\d{3,}-\d{4,}|\d{1,2}-\d{1,2}"  # telephone numbers, scores, ranges
    r"|24/7|9/11|7/11|50/50|20/20|4/20|7/7|4 ?x ?4|2 ?x ?4|\d{3,} ?x ?\d{3,}"  # what is said in numbers
    r"|10/90|20/80|25/75|30/70|40/60|60/40|70/30|75/25|80/20|90/10|1[0-4]0/[6-9]0"  # shares, blood pressure
    r"|.*\b0x\d.*",  # hexadecimal
    re.IGNORECASE,
)
_POWER_OF_NEGATIVE = re.compile(
    r"(?:^|[-+*/(]) ?[-−–] ?[\d.,]+ (?:squared|cubed|to the power|raised)", re.IGNORECASE
)
"""Said, it may be the power of the negative number, or the negative power."""
_LETTER = re.compile(r"[^\W\d_]")
_CALLED_SIGNS = {"sum": "+", "product": "*", "difference": "-", "quotient": "/"}
_SHOWN = {"*": " × ", "/": " ÷ ", "+": " + ", "-": " - ", "**": "^", "%": " mod "}


def _remainder(a: Fraction, b: Fraction) -> Fraction:
    if a < 0 or b < 0:
        raise ValueError("whose sign the rest bears is not agreed upon")
    return a % b


_BINARY: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Mod: _remainder,
}


def solve_arithmetic(asked: Framed) -> Computed | None:
    """Compute what consists of numbers, operators and brackets; None for anything else."""
    text = asked.text
    if len(text) > MAX_CHARS:
        return None
    if match := _ROOT.fullmatch(text):
        return _root(match["number"] or match["sign"], asked.language)
    if match := _CALLED.fullmatch(text):
        text = _called(match["what"].lower(), match["a"], match["b"], asked.language)
    plain = text.translate(_DASHES)
    if _OTHER_SENSE.fullmatch(plain) or not (asked.is_asked or _is_plainly_meant(text)):
        return None
    symbols = _symbols(text, asked.language)
    read = _numbered(symbols, asked.language) if symbols else None
    if read is None:
        return None
    code, values = read
    try:
        result = _value(ast.parse(code, mode="eval").body, values)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return None
    written, is_exact = write_number(result, asked.language)
    if len(written) > MAX_RESULT_DIGITS:
        return None
    shown = _shown(code, [write_number(value, asked.language)[0] for value in values])
    return Computed(sentence=f"{shown} {'=' if is_exact else '≈'} {written}.", result=written)


def _called(what: str, a: str, b: str, language: str) -> str:
    """Write with a sign what has a name; a difference is how far two numbers lie apart, whichever comes first."""
    one, other = read_number(a, language), read_number(b, language)
    if what == "difference" and one is not None and other is not None and one < other:
        a, b = b, a
    return f"{a} {_CALLED_SIGNS[what]} {b}"


def _is_plainly_meant(text: str) -> bool:
    """Whether an expression that nobody asks for in words is one: no telephone number, no date, no range."""
    return bool(re.search(r"[+*×÷^]", text)) and not text.startswith("+")


def _symbols(text: str, language: str) -> str | None:
    """Write operators as Python does; None where words are left, or it may mean two things."""
    # A bare sign says per cent as often as modulo.
    if "%" in text or _POWER_OF_NEGATIVE.search(text):
        return None
    for word, sign in _OPERATORS.get(language.partition("-")[0] or "en", {}).items():
        # Chinese puts no blanks around them.
        bound = "" if language.startswith("zh") else r"\b"
        text = re.sub(rf"{bound}(?:{word}){bound}", f" {sign} ", text, flags=re.IGNORECASE)
    for sign, power in _SQUARES.items():
        text = text.replace(sign, power)
    text = text.translate(_SIGNS).replace("^", "**").replace("[", "(").replace("]", ")")
    text = re.sub(r"(?<=[\d)])\s*[xX]\s*(?=[\d(])", " * ", text)
    text = re.sub(r"(?<=\d)\s+:\s+(?=\d)", " / ", text)
    # A word with a hyphen at it is part of a name, such as "7-Eleven".
    text = re.sub(
        rf"(?<![\w-]){NUMBER_WORD}(?![\w-])",
        lambda match: str(read_number(match.group(), "en")),
        text,
        flags=re.IGNORECASE,
    )
    is_plain = not _LETTER.search(text) and not re.search(r"[^\d\s+\-*/%().,'’\u00a0\u202f\u2009]", text)
    return text if is_plain else None


def _numbered(text: str, language: str) -> tuple[str, list[Fraction]] | None:
    """Put a name in the place of each number; None where one could mean two, or nothing is computed."""
    values: list[Fraction] = []
    unsigned = NUMBER.replace("[-−+]?", "", 1)
    code = ""
    place = 0
    for match in re.finditer(unsigned, text):
        # What begins with a nought is a code or part of a telephone number.
        is_code = re.fullmatch(r"0\d+", match.group())
        if is_code or (value := read_number(match.group(), language)) is None or len(values) == MAX_OPERANDS:
            return None
        code += f"{text[place : match.start()]} n{len(values)} "
        values.append(value)
        place = match.end()
    code = (code + text[place:]).strip()
    rest = re.sub(r"\bn\d+\b", "", code)
    if re.search(r"[\d.,'’]", rest) or not re.search(r"[+\-*/%]", rest) or len(values) < 2:
        return None
    return code, values


def _value(node: ast.expr, values: list[Fraction]) -> Fraction:
    match node:
        case ast.Name(id=name):
            return values[int(name[1:])]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, values)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, values)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left, values), _value(right, values))
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _BINARY:
            return _within_limits(_BINARY[type(operator)](_value(left, values), _value(right, values)))
    raise ValueError("this is no calculation")


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    whole = exponent.denominator == 1 and abs(exponent) <= MAX_EXPONENT and size * abs(exponent) <= MAX_BITS
    if not whole or (base == 0 and exponent <= 0):
        raise ValueError("this power is not computed")
    return _within_limits(Fraction(base ** int(exponent)))


def _within_limits(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise ValueError("this number is too long")
    return value


def _shown(code: str, numbers: list[str]) -> str:
    pieces = re.findall(r"n\d+|\*\*|[-+*/%()]", code)
    text = ""
    before = ""
    for piece in pieces:
        if piece.startswith("n"):
            text += numbers[int(piece[1:])]
        elif piece in "+-" and before in ("", "(", "+", "-", "*", "/", "%", "**"):
            text += piece
        else:
            text += _SHOWN.get(piece, piece)
        before = piece
    return text


def _root(number: str, language: str) -> Computed | None:
    value = read_number(number, language)
    if value is None or value < 0:
        return None
    top, bottom = isqrt(value.numerator), isqrt(value.denominator)
    exact = top * top == value.numerator and bottom * bottom == value.denominator
    scale = 10**9
    root = Fraction(top, bottom) if exact else Fraction(isqrt(int(value * scale * scale)), scale)
    written, is_exact = write_number(root if exact else Fraction(round(root * 10**6), 10**6), language)
    sign = "=" if exact and is_exact else "≈"
    return Computed(sentence=f"√{write_number(value, language)[0]} {sign} {written}.", result=written)
