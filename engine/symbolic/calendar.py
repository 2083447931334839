"""Days, weeks and dates of the Gregorian calendar; a date that can be read in two ways is not guessed."""

import calendar
import re
from datetime import date, timedelta

from engine.symbolic.computed import Computed
from engine.symbolic.framing import Framed

_MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_name) if name}
_MONTHS |= {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name} | {"sept": 9}
_MONTH = rf"(?:{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\.?"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_DATE = (
    rf"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day,? )?(?:the )?(?:\d{{4}}-\d\d?-\d\d?|\d{{1,2}}[./-]\d{{1,2}}[./-]\d{{4}}"
    rf"|{_DAY} (?:of )?{_MONTH}(?:,? \d{{4}})?|{_MONTH} (?:the )?{_DAY}(?:,? \d{{4}})?|today|tomorrow|yesterday|now"
    r"|christmas(?: day)?|christmas eve|new year(?:'s(?: day| eve)?)?)"
)
_FEASTS = {"christmas": (12, 25), "christmas day": (12, 25), "christmas eve": (12, 24), "new year": (1, 1)}
_FEASTS |= {"new year's": (1, 1), "new year's day": (1, 1), "new year's eve": (12, 31)}
FIRST_YEAR = 1583
"""The first whole year of the calendar. Source: Inter gravissimas, 1582."""
_UNIT_DAYS = {"day": 1, "week": 7, "fortnight": 14}
_MAX_STEPS = 100_000
_STEP = r"(?P<n>\d{1,6}|an?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve) (?P<unit>day|week|fortnight|month|year)s?"
_SMALL = {
    word: number
    for number, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
        ]
    )
} | {"a": 1, "an": 1}


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_BETWEEN = _form(
    rf"how (?:many (?P<unit>days|weeks)|long)(?: are(?: there)?| is it| is there| were there| lie| passed| pass)? (?:between|from) "
    rf"(?P<a>{_DATE}) (?:and|to|until|till) (?P<b>{_DATE})"
    rf"|(?:number of|the number of) (?P<unit2>days) (?:between|from) (?P<a2>{_DATE}) (?:and|to|until) (?P<b2>{_DATE})"
)
_UNTIL = _form(
    rf"how (?:many (?P<unit>days|weeks)|long)(?: are(?: there)?| is it| is there| do we have| remain)?(?: left| to go)? (?:until|till|before|to) (?P<b>{_DATE})"
)
_SINCE = _form(
    rf"how (?:many (?P<unit>days|weeks)|long)(?: is it| has it been| have passed| has passed| ago)? (?:since|ago was|was) (?P<a>{_DATE})"
)
_WEEKDAY = _form(
    rf"(?:(?:what|which) )?(?:day(?: of the week)?|weekday) (?:is|was|will be|does|did)(?: it on)? (?P<a>{_DATE})(?: fall on| be)?"
    rf"|on (?:what|which) (?:day|weekday)(?: of the week)? (?:does|did|is|was|will) (?P<a2>{_DATE})(?: fall| be)?"
    rf"|(?:the )?(?:day of the week|weekday) (?:of|for|on) (?P<a3>{_DATE})"
)
_STEPPED = _form(
    rf"(?:(?:what|which) )?(?:date|day)(?: of the week)?(?: is it| is| was it| was| will it be| will be| comes)?(?: in)? "
    rf"(?:{_STEP} (?P<way>after|before|from) (?P<a>{_DATE})|{_STEP.replace('P<', 'P<ago_')} ago|in {_STEP.replace('P<', 'P<in_')})"
    rf"|(?:the date )?{_STEP.replace('P<', 'P<bare_')} (?P<bare_way>after|before|from) (?P<bare_a>{_DATE})"
)
_TODAY = _form(
    r"(?:(?:what|which) )?(?:(?:(?:day|date|weekday)(?: of the week)?(?: is it| is| do we have)?(?: today)?)|(?:is )?(?:the )?(?:today's|current) (?:date|day)|(?:is )?the date(?: today)?)"
)
_TODAY_WORDS = re.compile(r"\b(?:today|today's|current|is it|the date)\b", re.IGNORECASE)
_LEAP = _form(r"(?:is|was|will)? ?(?:the year )?(?P<year>\d{4})(?: be)? a leap year")
_MONTH_DAYS = _form(
    rf"how many days (?:are(?: there)?|does|did|were(?: there)?|will)? ?(?:in |has )?(?P<month>{_MONTH})(?: of)?,? (?P<year>\d{{4}})(?: have| has)?"
)
_YEAR_DAYS = _form(
    r"how many days (?:are(?: there)?|does|did|were(?: there)?|will)? ?(?:in )?(?:the year )?(?P<year>\d{4})(?: have| has)?"
)
_WEEK = _form(
    rf"(?:(?:what|which) )?(?:calendar |iso )?week(?: number| of the year)?(?: is it on| is| was| does)? (?P<a>{_DATE})(?: fall in)?"
)


def solve_calendar(asked: Framed, today: date) -> Computed | None:
    """Answer a question about dates; None where it is none, or a date is not certain."""
    text = asked.text
    for form, solve in _SOLVERS:
        if match := form.fullmatch(text):
            found = {name: part for name, part in match.groupdict().items() if part}
            try:
                return solve(found, today, text)
            except (ValueError, OverflowError):
                return None
    return None


def written(day: date) -> str:
    """Write a date so that nobody can read it in two ways."""
    return f"{day.day} {calendar.month_name[day.month]} {day.year}"


def _read(text: str, today: date, *, turn: int = 0) -> date:
    """Read a date.

    Args:
        turn: where the year is missing: 1 for the next such day, -1 for the last one.

    Raises: ValueError: there is no such day, or it could be two.
    """
    said = re.fullmatch(r"(?:(?P<weekday>\w+day),? )?(?:the )?(?P<plain>.*)", text.lower().strip())
    if said is None:
        raise ValueError(f"{text!r} is no date")
    day = _read_plain(said["plain"], today, turn)
    if said["weekday"] and said["weekday"] != calendar.day_name[day.weekday()].lower():
        raise ValueError(f"{written(day)} is no {said['weekday']}")
    return day


def _read_plain(plain: str, today: date, turn: int) -> date:
    near = {"today": 0, "now": 0, "tomorrow": 1, "yesterday": -1}.get(plain)
    if near is not None:
        return today + timedelta(days=near)
    if feast := _FEASTS.get(plain):
        return _turned(*feast, today, turn)
    if match := re.fullmatch(r"(\d{4})-(\d\d?)-(\d\d?)", plain):
        return _checked(int(match[1]), int(match[2]), int(match[3]))
    if match := re.fullmatch(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})", plain):
        return _numeric(int(match[1]), int(match[3]), int(match[4]), is_dotted=match[2] == ".")
    match = re.fullmatch(
        r"(?:(?P<d>\d{1,2})\w{0,2} (?:of )?)?(?P<m>[a-z]+)\.?(?: (?:the )?(?P<e>\d{1,2})(?:st|nd|rd|th)?)?(?:,? (?P<y>\d{4}))?",
        plain,
    )
    if match is None or match["m"] not in _MONTHS or not (match["d"] or match["e"]):
        raise ValueError(f"{plain!r} is no date")
    month, day = _MONTHS[match["m"]], int(match["d"] or match["e"])
    return _checked(int(match["y"]), month, day) if match["y"] else _turned(month, day, today, turn)


def _numeric(first: int, second: int, year: int, *, is_dotted: bool) -> date:
    if is_dotted or first > 12:
        return _checked(year, second, first)
    if second > 12 or first == second:
        return _checked(year, first, second)
    raise ValueError("day and month cannot be told from each other")


def _turned(month: int, day: int, today: date, turn: int) -> date:
    if not turn:
        raise ValueError("the year is missing")
    here = _checked(today.year, month, day)
    if turn > 0:
        return here if here >= today else _checked(today.year + 1, month, day)
    return here if here <= today else _checked(today.year - 1, month, day)


def _checked(year: int, month: int, day: int) -> date:
    if year < FIRST_YEAR:
        raise ValueError("another calendar was used then")
    return date(year, month, day)


def _days(count: int) -> str:
    return f"{count} day{'' if count == 1 else 's'}"


def _span(a: date, b: date, unit: str) -> Computed:
    count = (b - a).days
    if count < 0:
        raise ValueError("the first date comes after the second one")
    said = f"From {written(a)} to {written(b)} it is {_days(count)}"
    if unit.lower() == "weeks":
        weeks, rest = divmod(count, 7)
        text = f"{weeks} week{'' if weeks == 1 else 's'}" + (f" and {_days(rest)}" if rest else "")
        return Computed(sentence=f"{said}, which is {text}.", result=text)
    return Computed(sentence=f"{said}.", result=_days(count))


def _between(found: dict[str, str], today: date, _: str) -> Computed:
    a, b = found.get("a") or found["a2"], found.get("b") or found["b2"]
    return _span(_read(a, today), _read(b, today), found.get("unit", ""))


def _until(found: dict[str, str], today: date, _: str) -> Computed:
    return _span(today, _read(found["b"], today, turn=1), found.get("unit", ""))


def _since(found: dict[str, str], today: date, _: str) -> Computed:
    return _span(_read(found["a"], today, turn=-1), today, found.get("unit", ""))


def _weekday(found: dict[str, str], today: date, text: str) -> Computed:
    day = _read(found.get("a") or found.get("a2") or found["a3"], today)
    name = calendar.day_name[day.weekday()]
    return Computed(sentence=f"{written(day)} {_tense(day, today)} a {name}.", result=name)


def _tense(day: date, today: date) -> str:
    return "is" if day >= today else "was"


def _stepped(found: dict[str, str], today: date, text: str) -> Computed:
    way = found.get("way") or found.get("bare_way") or ("before" if "ago_n" in found else "after")
    start = found.get("a") or found.get("bare_a") or "today"
    n = next(found[name] for name in ("n", "bare_n", "ago_n", "in_n") if name in found)
    unit = next(found[name] for name in ("unit", "bare_unit", "ago_unit", "in_unit") if name in found).lower()
    count = _SMALL[n.lower()] if n.lower() in _SMALL else int(n)
    a = _read(start, today)
    b = _step(a, count if way.lower() != "before" else -count, unit)
    name = calendar.day_name[b.weekday()]
    direction = "before" if way.lower() == "before" else "after"
    said = f"{count} {unit}{'' if count == 1 else 's'} {direction} {written(a)} {_tense(b, today)} {name}, {written(b)}."
    return Computed(sentence=said, result=written(b))


def _step(start: date, count: int, unit: str) -> date:
    if abs(count) > _MAX_STEPS:
        raise ValueError("too far away")
    if unit in _UNIT_DAYS:
        moved = start + timedelta(days=count * _UNIT_DAYS[unit])
    else:
        months = start.year * 12 + start.month - 1 + count * (12 if unit == "year" else 1)
        # A month after the 31st of January there is no day of that number: date() refuses it.
        moved = date(months // 12, months % 12 + 1, start.day)
    return _checked(moved.year, moved.month, moved.day)


def _today(found: dict[str, str], today: date, text: str) -> Computed:
    if not _TODAY_WORDS.search(text):
        raise ValueError("which day is asked for is not said")
    said = f"{calendar.day_name[today.weekday()]}, {written(today)}"
    return Computed(sentence=f"Today is {said} (UTC).", result=said)


def _leap(found: dict[str, str], today: date, _: str) -> Computed:
    year = int(found["year"])
    if year < FIRST_YEAR:
        raise ValueError("another calendar was used then")
    is_leap = calendar.isleap(year)
    text = f"{year} {'is' if year >= today.year else 'was'} {'a' if is_leap else 'not a'} leap year"
    return Computed(
        sentence=f"{'Yes' if is_leap else 'No'}: {text}, it has {366 if is_leap else 365} days.", result=text
    )


def _month_days(found: dict[str, str], today: date, _: str) -> Computed:
    month, year = _MONTHS[found["month"].lower().rstrip(".")], int(found["year"])
    _checked(year, month, 1)
    count = calendar.monthrange(year, month)[1]
    return Computed(sentence=f"{calendar.month_name[month]} {year} has {count} days.", result=f"{count} days")


def _year_days(found: dict[str, str], today: date, _: str) -> Computed:
    year = int(found["year"])
    _checked(year, 1, 1)
    count = 366 if calendar.isleap(year) else 365
    return Computed(sentence=f"The year {year} has {count} days.", result=f"{count} days")


def _week(found: dict[str, str], today: date, _: str) -> Computed:
    day = _read(found["a"], today)
    year, week, _day = day.isocalendar()
    return Computed(
        sentence=f"{written(day)} lies in week {week} of {year} (ISO 8601).", result=f"week {week}"
    )


_SOLVERS = (
    (_BETWEEN, _between),
    (_UNTIL, _until),
    (_SINCE, _since),
    (_WEEKDAY, _weekday),
    (_STEPPED, _stepped),
    (_TODAY, _today),
    (_LEAP, _leap),
    (_MONTH_DAYS, _month_days),
    (_YEAR_DAYS, _year_days),
    (_WEEK, _week),
)
