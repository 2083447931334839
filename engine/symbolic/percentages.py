"""Percentages, where a question says of what: "100 plus 10 %" may mean two things and is left alone."""

import re
from collections.abc import Callable
from fractions import Fraction

from engine.symbolic.computed import Computed
from engine.symbolic.framing import Framed
from engine.symbolic.numerals import NUMBER, read_number, write_number

_PERCENT = r"(?:\s?%|\s?(?:percent|per ?cent|prozent|pour ?cent|por ciento|per ?cento|por cento|procent|процент(?:а|ов)?|प्रतिशत|بالمئة))"
_OF = r"(?:of|von|de|di|van|z|от|out of)"
_MONEY = r"(?:euros?|dollars?|pounds?|rupees?|francs?|eur|usd|gbp|inr|chf)"
_A = rf"(?P<a>{NUMBER})"
_B = rf"(?P<sign>[$€£₹]\s?)?(?P<b>{NUMBER})(?:\s?(?P<unit>[€£₹]|{_MONEY}))?"

Number = Callable[[Fraction], str]
_Solve = Callable[[Fraction, Fraction, Number, Number], tuple[str, Fraction, Number]]


def _part(a: Fraction, b: Fraction, plain: Number, money: Number) -> tuple[str, Fraction, Number]:
    return f"{plain(a)} % of {money(b)}", a * b / 100, money


def _share(a: Fraction, b: Fraction, plain: Number, money: Number) -> tuple[str, Fraction, Number]:
    return f"{plain(a)} as a share of {plain(b)}", a / b * 100, lambda value: f"{plain(value)} %"


def _more(a: Fraction, b: Fraction, plain: Number, money: Number) -> tuple[str, Fraction, Number]:
    return f"{money(b)} increased by {plain(a)} %", b * (100 + a) / 100, money


def _less(a: Fraction, b: Fraction, plain: Number, money: Number) -> tuple[str, Fraction, Number]:
    return f"{money(b)} reduced by {plain(a)} %", b * (100 - a) / 100, money


def _change(a: Fraction, b: Fraction, plain: Number, money: Number) -> tuple[str, Fraction, Number]:
    if a <= 0:
        raise ValueError("of nothing there is no share, and of a debt none that all agree upon")
    return f"the change from {plain(a)} to {plain(b)}", (b - a) / a * 100, lambda value: f"{plain(value)} %"


def _whole(a: Fraction, b: Fraction, plain: Number, money: Number) -> tuple[str, Fraction, Number]:
    return f"the number of which {plain(b)} % is {plain(a)}", a / b * 100, plain


_FORMS: tuple[tuple[re.Pattern[str], _Solve], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), solve)
    for pattern, solve in (
        (rf"(?:the )?{_A}{_PERCENT} {_OF} {_B}", _part),
        (rf"(?:a |the )?{_A}{_PERCENT} tip (?:on|for) (?:a bill of )?{_B}", _part),
        (rf"(?:what )?(?:percent|percentage|per ?cent) {_OF} (?P<b>{NUMBER}) is {_A}", _share),
        (
            # "20 percentage of 50" may be meant the other way round.
            rf"{_A} (?:(?:is )?(?:what|which)|(?:is )?as an?) (?:percent|percentage|per ?cent) {_OF} (?P<b>{NUMBER})",
            _share,
        ),
        (rf"(?:what )?(?:percent|percentage|per ?cent) is {_A} of (?P<b>{NUMBER})", _share),
        (
            rf"{_B} increased by {_A}{_PERCENT}|increase {_B.replace('P<', 'P<x')} by (?P<xa>{NUMBER}){_PERCENT}",
            _more,
        ),
        (rf"{_A}{_PERCENT} more than {_B}", _more),
        (rf"add {_A}{_PERCENT} to {_B}", _more),
        (
            rf"{_B} (?:decreased|reduced) by {_A}{_PERCENT}|(?:decrease|reduce) {_B.replace('P<', 'P<x')} by (?P<xa>{NUMBER}){_PERCENT}",
            _less,
        ),
        (rf"{_A}{_PERCENT} (?:less than|off(?: of)?|discount on) {_B}", _less),
        (rf"{_B} (?:with|after) (?:a )?{_A}{_PERCENT} (?:discount|off)", _less),
        (
            rf"(?:the )?(?:percent(?:age)?|per ?cent) (?:change|increase|decrease) from {_A} to (?P<b>{NUMBER})",
            _change,
        ),
        (rf"(?P<b>{NUMBER}){_PERCENT} of (?:what|which)(?: number)? is {_A}", _whole),
        (rf"{_A} is (?P<b>{NUMBER}){_PERCENT} of (?:what|which)(?: number)?", _whole),
    )
)


def solve_percentage(asked: Framed) -> Computed | None:
    """Compute a percentage; None where the question is none, or leaves open of what."""
    for pattern, solve in _FORMS:
        if match := pattern.fullmatch(asked.text):
            found = {name.removeprefix("x"): text for name, text in match.groupdict().items() if text}
            return _solved(found, solve, asked.language)
    return None


def _solved(found: dict[str, str], solve: _Solve, language: str) -> Computed | None:
    a, b = read_number(found["a"], language), read_number(found["b"], language)
    if a is None or b is None:
        return None

    def plain(value: Fraction) -> str:
        return write_number(value, language)[0]

    def money(value: Fraction) -> str:
        unit = found.get("unit", "")
        behind = unit if unit in ("€", "£", "₹", "") else f" {unit}"
        return f"{found.get('sign', '').strip()}{plain(value)}{behind}"

    try:
        said, result, write = solve(a, b, plain, money)
    except (ValueError, ZeroDivisionError):
        return None
    sign = "=" if write_number(result, language)[1] else "≈"
    return Computed(sentence=f"{said[0].upper()}{said[1:]} {sign} {write(result)}.", result=plain(result))
