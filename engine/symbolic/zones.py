"""Times in other time zones, by the tz database; a place with several zones is not guessed."""

import re
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from engine.symbolic.calendar import written
from engine.symbolic.computed import Computed
from engine.symbolic.durations import CLOCK, minutes_of
from engine.symbolic.framing import Framed

_COUNTRIES = {
    "austria": "Europe/Vienna",
    "belgium": "Europe/Brussels",
    "china": "Asia/Shanghai",
    "beijing": "Asia/Shanghai",
    "denmark": "Europe/Copenhagen",
    "egypt": "Africa/Cairo",
    "finland": "Europe/Helsinki",
    "greece": "Europe/Athens",
    "hungary": "Europe/Budapest",
    "india": "Asia/Kolkata",
    "new delhi": "Asia/Kolkata",
    "delhi": "Asia/Kolkata",
    "mumbai": "Asia/Kolkata",
    "bangalore": "Asia/Kolkata",
    "goa": "Asia/Kolkata",
    "ireland": "Europe/Dublin",
    "israel": "Asia/Jerusalem",
    "italy": "Europe/Rome",
    "milan": "Europe/Rome",
    "japan": "Asia/Tokyo",
    "osaka": "Asia/Tokyo",
    "kenya": "Africa/Nairobi",
    "munich": "Europe/Berlin",
    "hamburg": "Europe/Berlin",
    "germany": "Europe/Berlin",
    "netherlands": "Europe/Amsterdam",
    "nigeria": "Africa/Lagos",
    "norway": "Europe/Oslo",
    "pakistan": "Asia/Karachi",
    "poland": "Europe/Warsaw",
    "san francisco": "America/Los_Angeles",
    "seattle": "America/Los_Angeles",
    "boston": "America/New_York",
    "washington dc": "America/New_York",
    "miami": "America/New_York",
    "south africa": "Africa/Johannesburg",
    "south korea": "Asia/Seoul",
    "sweden": "Europe/Stockholm",
    "switzerland": "Europe/Zurich",
    "geneva": "Europe/Zurich",
    "thailand": "Asia/Bangkok",
    "turkey": "Europe/Istanbul",
    "uk": "Europe/London",
    "united kingdom": "Europe/London",
    "vietnam": "Asia/Ho_Chi_Minh",
    "utc": "UTC",
    "gmt": "Etc/GMT",
}
"""Countries with one zone, and cities whose zone bears another city's name."""
_SEVERAL = {
    "san juan",
    "st johns",
    "victoria",
    "georgetown",
    "kingston",
    "petersburg",
    "melbourne fl",
    "easter",
    *("north", "south", "west", "act", "virgin", "oral", "wake", "midway", "christmas", "reunion", "stanley"),
    *(
        "norfolk",
        "chatham",
        "jersey",
        "cordoba",
        "merida",
        "rosario",
        "santarem",
        "mahe",
        "creston",
        "dawson",
    ),
    *("johnston", "santa isabel", "st thomas", "knox in", "resolute", "regina", "urumqi", "kashgar"),
}
"""Names of several places, of a place with two times, or words that are no place's at first."""
_SHORT = {"utc", "gmt", "uk"}
_REGIONS = ("Africa/", "America/", "Asia/", "Australia/", "Europe/", "Pacific/", "Atlantic/", "Indian/")
_PLACE = r"(?P<{}>[a-z][a-z .'-]{{1,30}}?)(?:'s)?(?: time)?"
_NOW = re.compile(
    rf"(?:(?:what|which) )?(?:the )?(?:current |local )?time(?: of day)?(?: is it)?(?: right)?(?: now)?(?: is it)? in {_PLACE.format('to')}(?: right)?(?: now)?"
    rf"|(?:the )?(?:current |local )?time in {_PLACE.format('to2')}(?: right)?(?: now)?",
    re.IGNORECASE,
)
_AT = re.compile(
    rf"(?:convert )?(?P<clock>{CLOCK}) (?:in )?{_PLACE.format('of')} (?:in|to|for) {_PLACE.format('to')}"
    rf"|(?:if|when) it(?:'s| is) (?P<clock2>{CLOCK}) in {_PLACE.format('of2')},? (?:then )?(?:what(?:'s| is) the time|what time is it|what is it) in {_PLACE.format('to2')}"
    rf"|(?:what )?time is it in {_PLACE.format('to3')} (?:when|if) it(?:'s| is) (?P<clock3>{CLOCK}) in {_PLACE.format('of3')}",
    re.IGNORECASE,
)
_DIFFERENCE = re.compile(
    rf"(?:the )?time(?: zone)? difference between {_PLACE.format('of')} and {_PLACE.format('to')}"
    rf"|how many hours(?: is)? (?P<to2>[a-z][a-z .'-]{{1,30}}?)(?: is)? (?:ahead of|behind) (?P<of2>[a-z][a-z .'-]{{1,30}})",
    re.IGNORECASE,
)


def solve_zones(asked: Framed, now: datetime) -> Computed | None:
    """Answer what time it is elsewhere; None where the question is another one, or a place is not certain."""
    for form, solve in ((_AT, _at), (_DIFFERENCE, _difference), (_NOW, _now)):
        if match := form.fullmatch(asked.text):
            found = {name.rstrip("23"): part for name, part in match.groupdict().items() if part}
            return solve(found, now)
    return None


@cache
def _cities() -> dict[str, str]:
    """Return the cities that name a zone of their own."""
    found: dict[str, str] = {}
    for name in available_timezones():
        region, _, city = name.partition("/")
        # Three parts are a state's or a country's zones: Indiana/Petersburg.
        if f"{region}/" in _REGIONS and "/" not in city:
            found[city.replace("_", " ").lower()] = name
    return {city: zone for city, zone in found.items() if city not in _SEVERAL} | _COUNTRIES


def _zone(place: str) -> tuple[str, ZoneInfo] | None:
    plain = " ".join(place.lower().replace(".", "").split()).removeprefix("the ")
    if (name := _cities().get(plain)) is None:
        return None
    try:
        shown = plain.upper() if plain in _SHORT else " ".join(word.capitalize() for word in plain.split())
        return shown, ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _now(found: dict[str, str], now: datetime) -> Computed | None:
    if (there := _zone(found["to"])) is None:
        return None
    place, zone = there
    local = now.astimezone(zone)
    return Computed(
        sentence=f"In {place} it is {local:%H:%M} on {written(local.date())}.", result=f"{local:%H:%M}"
    )


def _at(found: dict[str, str], now: datetime) -> Computed | None:
    here, there, minutes = _zone(found["of"]), _zone(found["to"]), minutes_of(found["clock"])
    if here is None or there is None or minutes is None:
        return None
    local = _local(now.astimezone(here[1]).date(), minutes, here[1])
    if local is None:
        return None
    other = local.astimezone(there[1])
    said = f"{local:%H:%M} on {written(local.date())} in {here[0]} is {other:%H:%M}"
    day = "" if other.date() == local.date() else f" on {written(other.date())}"
    return Computed(sentence=f"{said}{day} in {there[0]}.", result=f"{other:%H:%M}")


def _local(day: date, minutes: int, zone: ZoneInfo) -> datetime | None:
    """Return a time of day as it was on the clocks there; None where they skipped it or showed it twice."""
    moment = datetime(day.year, day.month, day.day, minutes // 60, minutes % 60, tzinfo=zone)
    is_shown = moment.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == moment.replace(tzinfo=None)
    return moment if is_shown and moment.utcoffset() == moment.replace(fold=1).utcoffset() else None


def _difference(found: dict[str, str], now: datetime) -> Computed | None:
    here, there = _zone(found["of"]), _zone(found["to"])
    if here is None or there is None:
        return None
    of, to = now.astimezone(here[1]).utcoffset(), now.astimezone(there[1]).utcoffset()
    if of is None or to is None:
        return None
    ahead = to - of
    today = written(now.date())
    if not ahead:
        text = f"{there[0]} and {here[0]} have the same time"
        return Computed(sentence=f"On {today}, {text}.", result=text)
    hours, minutes = divmod(abs(ahead) // timedelta(minutes=1), 60)
    amount = f"{hours} hour{'' if hours == 1 else 's'}" + (f" {minutes} minutes" if minutes else "")
    text = f"{amount} {'ahead of' if ahead > timedelta() else 'behind'} {here[0]}"
    return Computed(sentence=f"On {today}, {there[0]} is {text}.", result=text)
