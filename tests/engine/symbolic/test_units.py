"""The factors of units are those of a library that others keep."""

import pint
import pytest

from engine.symbolic.units import Unit, _units

BASES = {
    "length": "metre",
    "mass": "kilogram",
    "volume": "litre",
    "area": "metre ** 2",
    "speed": "metre / second",
    "time": "second",
    "data": "byte",
    "energy": "joule",
    "power": "watt",
    "pressure": "pascal",
}
OTHER_NAMES = {
    "us gallon": "gallon",
    "us pint": "pint",
    **{
        name: name.replace(" ", "_")
        for name in ("imperial gallon", "imperial pint", "long ton", "short ton", "nautical mile")
    },
}
SURVEYED = {"acre"}
"""The library has the acre of American surveyors, which is larger by 4 in a million than the international one."""
UNITS = sorted({unit.one: unit for unit in _units().values()}.values(), key=lambda unit: unit.one)


@pytest.fixture(scope="module")
def registry() -> pint.UnitRegistry[float]:
    """All units of the library."""
    return pint.UnitRegistry()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.one)
def test_a_factor_is_that_of_the_library(unit: Unit, registry: pint.UnitRegistry[float]) -> None:
    """Under every unit's own name."""
    measure = registry(OTHER_NAMES.get(unit.one, unit.one)).to(BASES[unit.dimension])

    assert measure.magnitude == pytest.approx(float(unit.factor), rel=1e-5 if unit.one in SURVEYED else 1e-9)
