"""Conversion of units by exact factors; a unit that is two units, such as a gallon, is not guessed.

Source of the factors: NIST Special Publication 811 (2008), appendix B; IEC 80000-13 for binary prefixes.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from engine.symbolic.computed import Computed
from engine.symbolic.framing import Framed
from engine.symbolic.numerals import NUMBER, NUMBER_WORD, read_number, write_number


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit by its factor to the base of its dimension."""

    name: str
    """As it is written behind a number other than one."""
    one: str
    dimension: str
    factor: Fraction
    offset: Fraction = Fraction(0)
    """Added before multiplying, for temperatures."""


_TABLE = """
length  1            metre metres meter meters m
length  1000         kilometre kilometres kilometer kilometers km kms
length  1/10         decimetre decimetres decimeter decimeters dm
length  1/100        centimetre centimetres centimeter centimeters cm
length  1/1000       millimetre millimetres millimeter millimeters mm
length  1/1000000    micrometre micrometres micrometer micrometers µm
length  1/1000000000 nanometre nanometres nanometer nanometers nm
length  254/10000    inch inches
length  3048/10000   foot feet ft
length  9144/10000   yard yards yd
length  1609344/1000 mile miles mi
length  1852         nautical_mile nautical_miles nmi
mass    1            kilogram kilograms kilo kilos kg kgs
mass    1/1000       gram grams gramme grammes g
mass    1/1000000    milligram milligrams mg
mass    1000         tonne tonnes metric_ton metric_tons
mass    45359237/100000000    pound pounds lb lbs
mass    45359237/1600000000   ounce ounces oz
mass    635029318/100000000   stone stones
mass    90718474/100000       short_ton short_tons
mass    10160469088/10000000  long_ton long_tons
volume  1            litre litres liter liters l
volume  1/10         decilitre decilitres deciliter deciliters dl
volume  1/100        centilitre centilitres centiliter centiliters cl
volume  1/1000       millilitre millilitres milliliter milliliters ml
volume  1000         cubic_metre cubic_metres cubic_meter cubic_meters m³ m3
volume  1/1000       cubic_centimetre cubic_centimetres cubic_centimeter cubic_centimeters cm³ cm3
volume  3785411784/1000000000 us_gallon us_gallons
volume  454609/100000         imperial_gallon imperial_gallons uk_gallon uk_gallons
volume  473176473/1000000000  us_pint us_pints
volume  56826125/100000000    imperial_pint imperial_pints uk_pint uk_pints
area    1            square_metre square_metres square_meter square_meters m² m2
area    1000000      square_kilometre square_kilometres square_kilometer square_kilometers km² km2
area    1/10000      square_centimetre square_centimetres square_centimeter square_centimeters cm² cm2
area    10000        hectare hectares ha
area    9290304/100000000     square_foot square_feet sqft
area    64516/100000000       square_inch square_inches
area    83612736/100000000    square_yard square_yards
area    40468564224/10000000  acre acres
area    2589988110336/1000000 square_mile square_miles
speed   1            metre_per_second metres_per_second meters_per_second m/s
speed   10/36        kilometre_per_hour kilometres_per_hour kilometers_per_hour km/h kph kmh
speed   44704/100000 mile_per_hour miles_per_hour mph
speed   1852/3600    knot knots
time    1            second seconds sec secs s
time    1/1000       millisecond milliseconds ms
time    60           minute minutes min mins
time    3600         hour hours hr hrs h
time    86400        day days
time    604800       week weeks
data    1            byte bytes
data    1/8          bit bits
data    1000         kilobyte kilobytes
data    1000000      megabyte megabytes
data    1000000000   gigabyte gigabytes
data    1000000000000 terabyte terabytes
data    1024         kibibyte kibibytes
data    1048576      mebibyte mebibytes
data    1073741824   gibibyte gibibytes
data    1099511627776 tebibyte tebibytes
energy  1            joule joules
energy  1000         kilojoule kilojoules kj
energy  4184         kilocalorie kilocalories kcal
energy  3600000      kilowatt_hour kilowatt_hours kwh
energy  3600         watt_hour watt_hours wh
power   1            watt watts
power   1000         kilowatt kilowatts kw
pressure 1           pascal pascals
pressure 100         hectopascal hectopascals hpa millibar millibars mbar
pressure 100000      bar bars
pressure 101325      atmosphere atmospheres atm
"""
_CASED = {
    "kB": "kilobyte",
    "KB": "kilobyte",
    "MB": "megabyte",
    "GB": "gigabyte",
    "TB": "terabyte",
    "KiB": "kibibyte",
    "MiB": "mebibyte",
    "GiB": "gibibyte",
    "TiB": "tebibyte",
    "B": "byte",
}
"""Abbreviations whose case tells bytes from bits."""
_TEMPERATURES = (
    (
        r"(?:degrees? |°\s?|º\s?)?(?:celsius|centigrade)|°\s?c|º\s?c|degrees? c",
        Fraction(1),
        Fraction(0),
        "°C",
    ),
    (r"(?:degrees? |°\s?|º\s?)?fahrenheit|°\s?f|º\s?f|degrees? f", Fraction(5, 9), Fraction(-32), "°F"),
    (r"kelvins?", Fraction(1), Fraction(-27315, 100), "K"),
)
_ABSOLUTE_ZERO = Fraction(-27315, 100)
_MAX_MAGNITUDE = Fraction(10**15)


@cache
def _units() -> dict[str, Unit]:
    units: dict[str, Unit] = {}
    for line in _TABLE.split("\n"):
        if line.strip():
            dimension, factor, *names = line.split()
            one, many = (name.replace("_", " ") for name in names[:2])
            unit = Unit(many, one, dimension, Fraction(factor))
            units |= {name.replace("_", " "): unit for name in names}
    return units


@cache
def _forms() -> tuple[re.Pattern[str], ...]:
    names = sorted((re.escape(name) for name in (*_units(), *_CASED)), key=len, reverse=True)
    warm = "|".join(pattern for pattern, *_ in _TEMPERATURES)
    unit = rf"(?:{'|'.join(names)}|{warm}|[CFK]\b)"
    measure = rf"(?P<value>{NUMBER}|{NUMBER_WORD}|an?|one)\s?(?P<given>{unit})(?:(?:\s|,|\sand\s)+(?P<value2>{NUMBER})\s?(?P<given2>{unit}))?"
    wanted = rf"(?P<wanted>{unit})"
    verbs = r"(?:are|is|do|does|make|makes|equals?|go(?:es)? into|fit in(?:to)?)"
    return tuple(
        re.compile(pattern, re.IGNORECASE)
        for pattern in (
            rf"(?:convert |change |turn )?{measure} (?:in|to|into|as|expressed in|equals? how many|is how many) {wanted}",
            rf"how (?:many|much) {wanted} (?:(?:{verbs}(?: there)?)(?: in)?|in|per) {measure}(?: have)?",
            rf"{measure} (?:is|are|equals?|makes?) (?:how many|what in) {wanted}",
            rf"how (?:many|much) is {measure} in {wanted}",
            rf"number of {wanted} in {measure}",
        )
    )


def solve_units(asked: Framed) -> Computed | None:
    """Convert a measure; None where the question is no conversion, or a unit could be two."""
    for form in _forms():
        if match := form.fullmatch(asked.text):
            return _converted(match.groupdict(), asked.language)
    return None


def _converted(found: dict[str, str | None], language: str) -> Computed | None:
    given, wanted = _unit(found["given"] or ""), _unit(found["wanted"] or "")
    value = _number(found["value"] or "", language)
    if given is None or wanted is None or value is None or given.dimension != wanted.dimension:
        return None
    shown = _shown(value, given, language)
    base = (value + given.offset) * given.factor
    if found["given2"]:
        second, more = _unit(found["given2"] or ""), _number(found["value2"] or "", language)
        if (
            second is None
            or more is None
            or second.dimension != given.dimension
            or second.factor >= given.factor
            # Degrees of two scales are not added, and below nothing it is not said which way the rest goes.
            or given.dimension == "temperature"
            or value < 0
        ):
            return None
        shown = f"{shown} {_shown(more, second, language)}"
        base += more * second.factor
    if abs(base) > _MAX_MAGNITUDE or (given.dimension == "temperature" and base < _ABSOLUTE_ZERO):
        return None
    result = base / wanted.factor - wanted.offset
    written, is_exact = write_number(result, language)
    said = _shown(result, wanted, language)
    return Computed(sentence=f"{shown} {'=' if is_exact else '≈'} {said}.", result=written)


def _number(text: str, language: str) -> Fraction | None:
    return Fraction(1) if text.lower() in ("a", "an", "one") else read_number(text, language)


def _unit(name: str) -> Unit | None:
    if full := _CASED.get(name):
        return _units()[full]
    if name == "NM" or name.lower() in {cased.lower() for cased in _CASED}:
        # "mb" says neither bits nor bytes; "nm" are nanometres, "NM" more often nautical miles.
        return None
    plain = " ".join(name.lower().split())
    for pattern, factor, offset, symbol in _TEMPERATURES:
        if re.fullmatch(pattern, plain) or name == symbol[-1]:
            return Unit(symbol, symbol, "temperature", factor, offset)
    return _units().get(plain)


def _shown(value: Fraction, unit: Unit, language: str) -> str:
    return f"{write_number(value, language)[0]} {unit.one if abs(value) == 1 else unit.name}"
