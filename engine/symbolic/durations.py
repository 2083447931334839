"""Sums and differences of durations, and the time between two times of one day."""

import re
from fractions import Fraction

from engine.symbolic.computed import Computed
from engine.symbolic.framing import Framed
from engine.symbolic.numerals import NUMBER, read_number

_SECONDS = {"week": 604_800, "day": 86_400, "hour": 3600, "minute": 60, "second": 1}
_NAMES = {
    "week": "week",
    "day": "day",
    "hour": "hour",
    "hr": "hour",
    "h": "hour",
    "minute": "minute",
    "min": "minute",
    "second": "second",
    "sec": "second",
    "s": "second",
}
_PIECE = rf"{NUMBER}\s?(?:weeks?|days?|hours?|hrs?|h|minutes?|mins?|seconds?|secs?|s)\b"
_DURATION = rf"{_PIECE}(?:(?:,|\sand)?\s?{_PIECE}){{0,4}}"
_SUM = re.compile(
    rf"(?P<a>{_DURATION}) (?P<sign>plus|minus|\+|-|−) (?P<b>{_DURATION})"
    rf"|(?:the )?sum of (?P<a2>{_DURATION}) and (?P<b2>{_DURATION})|add (?P<a3>{_DURATION}) (?:to|and) (?P<b3>{_DURATION})",
    re.IGNORECASE,
)
_TIMES = re.compile(rf"(?P<n>\d{{1,4}}) (?:times|x|×|\*) (?P<a>{_DURATION})", re.IGNORECASE)
CLOCK = r"(?:\d{1,2}[:.]\d{2}(?:\s?[ap]\.?m\.?)?|\d{1,2}\s?[ap]\.?m\.?|noon|midnight)"
_BETWEEN = re.compile(
    rf"how (?:long|much time|many (?P<unit>hours|minutes))(?: is it| is there| are(?: there)?| lie| pass(?:es)?)? (?:from|between) "
    rf"(?P<a>{CLOCK}) (?:to|and|until|till) (?P<b>{CLOCK})",
    re.IGNORECASE,
)


def solve_duration(asked: Framed) -> Computed | None:
    """Compute with durations; None where the question is another one, or a time of day could be two."""
    text = asked.text
    if match := _BETWEEN.fullmatch(text):
        return _between(match["a"], match["b"], (match["unit"] or "").lower())
    if match := _TIMES.fullmatch(text):
        one = _seconds(match["a"], asked.language)
        return None if one is None else _told(f"{match['n']} × {_written(one)}", one * int(match["n"]))
    if match := _SUM.fullmatch(text):
        found = {name.rstrip("23"): part for name, part in match.groupdict().items() if part}
        a, b = _seconds(found["a"], asked.language), _seconds(found["b"], asked.language)
        if a is None or b is None:
            return None
        sign = found.get("sign", "plus").lower()
        is_minus = sign in ("minus", "-", "−")
        if is_minus and b > a:
            return None
        return _told(
            f"{_written(a)} {'minus' if is_minus else 'plus'} {_written(b)}", a - b if is_minus else a + b
        )
    return None


def minutes_of(clock: str) -> int | None:
    """Read a time of day as minutes since midnight; None where it is none."""
    plain = clock.lower().replace(".m", "m").replace("m.", "m").strip()
    if plain in ("noon", "midnight"):
        return 720 if plain == "noon" else 0
    match = re.fullmatch(r"(\d{1,2})(?:[:.](\d{2}))?\s?([ap]m)?", plain)
    if match is None or not (match[2] or match[3]):
        return None
    hour, minute = int(match[1]), int(match[2] or 0)
    if match[3]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match[3] == "pm" else 0)
    return hour * 60 + minute if hour < 24 and minute < 60 else None


def clock_of(minutes: int) -> str:
    """Write minutes since midnight as a time of day of 24 hours."""
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _between(a: str, b: str, unit: str) -> Computed | None:
    start, end = minutes_of(a), minutes_of(b)
    # Overnight, or half a day: nobody said which.
    if start is None or end is None or end <= start or ("m" in a.lower()) != ("m" in b.lower()):
        return None
    minutes = end - start
    said = f"From {clock_of(start)} to {clock_of(end)} it is"
    if unit == "minutes":
        return Computed(sentence=f"{said} {minutes} minutes.", result=f"{minutes} minutes")
    text = _written(Fraction(minutes * 60))
    return Computed(sentence=f"{said} {text}.", result=text)


def _seconds(text: str, language: str) -> Fraction | None:
    total = Fraction(0)
    last = float("inf")
    for match in re.finditer(rf"(?P<n>{NUMBER})\s?(?P<unit>[a-z]+)", text, re.IGNORECASE):
        name = match["unit"].lower()
        unit = _SECONDS[_NAMES[name if name in _NAMES else name.removesuffix("s")]]
        value = read_number(match["n"], language)
        # "5 minutes 2 hours" may be a slip of the pen.
        if value is None or value < 0 or unit >= last:
            return None
        total += value * unit
        last = unit
    return total


def _written(seconds: Fraction) -> str:
    parts = []
    left = seconds
    for name, size in list(_SECONDS.items())[1:]:
        count = left // size if name != "second" else left
        left -= count * size
        if count:
            shown = str(count) if Fraction(count).denominator == 1 else f"{float(count):g}"
            parts.append(f"{shown} {name}{'' if count == 1 else 's'}")
    return " ".join(parts) or "0 seconds"


def _told(said: str, seconds: Fraction) -> Computed:
    text = _written(seconds)
    return Computed(sentence=f"{said} = {text}.", result=text)
