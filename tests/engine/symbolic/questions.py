"""Two hundred questions with the results they must have, and a hundred that only look as if they were such.

Half of the first are written down with their results; the others are made from a seed, and their results computed
by other ways than the ones under test: decimal arithmetic, ordinal days, offsets that do not change.
"""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
SEED = 20261129

WRITTEN = [
    ("What is 12 * 7?", "84"),
    ("what's 17 x 23", "391"),
    ("2+2", "4"),
    ("2 + 2 =", "4"),
    ("Calculate 19 - 42.", "-23"),
    ("100 - 37?", "63"),
    ("How much is 1,234 + 1?", "1235"),
    ("How much is 12,345.50 + 0.5?", "12346"),
    ("What is 0.1 + 0.2?", "0.3"),
    ("What is 10 divided by 4?", "2.5"),
    ("What is 1/3?", "0.333333"),
    ("What is 2 to the power of 10?", "1024"),
    ("what is 2^0.5 * 0 + 1", None),
    ("What is (3+4)*5-2^3?", "27"),
    ("What is 7 squared?", "49"),
    ("compute 3 cubed plus 1", "28"),
    ("What is -5 + 3?", "-2"),
    ("What is 7 mod 3?", "1"),
    ("What is the square root of 144?", "12"),
    ("What is the square root of 2?", "1.414214"),
    ("What is the sum of 12 and 30?", "42"),
    ("what is the product of 12 and 12", "144"),
    ("What is the difference between 30 and 12?", "18"),
    ("What is the quotient of 45 and 9?", "5"),
    ("tell me what 12 * 7 is", "84"),
    ("Could you please calculate 144 / 12?", "12"),
    ("Hi, can you tell me what 8 times 9 is please?", "72"),
    ("what is five plus seven", "12"),
    ("What is 1000000 * 1000000?", "1000000000000"),
    ("What is 3.5 × 2?", "7"),
    ("what is 6 ÷ 4", "1.5"),
    ("what is 2 * (3 + (4 - 1))", "12"),
    ("What is 99999999999 * 99999999999?", "9999999999800000000001"),
    ("Was ist 1.234 + 1?", "1235"),
    ("Wie viel ist 2,5 mal 4?", "10"),
    ("Wie viel ist 7 geteilt durch 2?", "3,5"),
    ("Bitte berechne 12 + 30.", "42"),
    ("combien font 3 fois 4 ?", "12"),
    ("Combien font 7,5 divisé par 2 ?", "3,75"),
    ("¿Cuánto es 15 más 27?", "42"),
    ("¿Cuánto es 9 por 8?", "72"),
    ("Quanto fa 6 per 7?", "42"),
    ("quanto é 5 vezes 5?", "25"),
    ("Hoeveel is 12 keer 12?", "144"),
    ("Ile to jest 8 razy 7?", "56"),
    ("Сколько будет 12 умножить на 3?", "36"),
    ("12 + 5 कितना है?", "17"),
    ("١٢ + ٣", "15"),
    ("كم يساوي 6 * 7", "42"),
    ("12乘以3等于多少？", "36"),
    ("What is 15% of 80?", "12"),
    ("What is 20 percent of $50?", "10"),
    ("What is 7.5% of 200 euros?", "15"),
    ("Was sind 15 % von 80?", "12"),
    ("20 is what percent of 80?", "25"),
    ("What percent of 80 is 20?", "25"),
    ("What percentage is 3 of 8?", "37.5"),
    ("increase 200 by 15%", "230"),
    ("What is 200 decreased by 10 %?", "180"),
    ("How much is 20% off 50 dollars?", "40"),
    ("What is the percentage change from 50 to 60?", "20"),
    ("What is the percentage change from 60 to 50?", "-16.666667"),
    ("20 is 25% of what number?", "80"),
    ("What is a 15% tip on $80?", "12"),
    ("convert 5 km to miles", "3.106856"),
    ("How many feet are in 2 miles?", "10560"),
    ("How many megabytes are in 3 gigabytes?", "3000"),
    ("how many MiB is 1 GiB", "1024"),
    ("What is 100°F in Celsius?", "37.777778"),
    ("What is 37 degrees Celsius in Fahrenheit?", "98.6"),
    ("convert 0 celsius to kelvin", "273.15"),
    ("what is -40 °C in °F", "-40"),
    ("how many ounces in 2 pounds", "32"),
    ("How many minutes are in 2 hours and 30 minutes?", "150"),
    ("How many seconds are in a day?", "86400"),
    ("What is 5 feet 11 inches in cm?", "180.34"),
    ("How many grams are in 3.5 kilograms?", "3500"),
    ("How many ml is 2.5 litres?", "2500"),
    ("convert 3 hectares to square metres", "30000"),
    ("how many inches are there in a yard", "36"),
    ("What is 100 km/h in mph?", "62.137119"),
    ("How many kWh is 7200 kJ?", "2"),
    ("How many days are in 3 weeks?", "21"),
    ("How many litres are there in 2 US gallons?", "7.570823568"),
    ("how many days between 1 March 2026 and 15 April 2026", "45 days"),
    ("How many days are there from 2024-02-01 to 2024-03-01?", "29 days"),
    ("How many weeks are there between 1 January 2026 and 22 January 2026?", "3 weeks"),
    ("How many days until Christmas?", "26 days"),
    ("How many days until January 1?", "33 days"),
    ("how many days since 1 January 2026", "332 days"),
    ("What day of the week was 4 July 1976?", "Sunday"),
    ("On what day does December 25, 2026 fall?", "Friday"),
    ("what date is 30 days after 1 March 2026", "31 March 2026"),
    ("What date is it in 45 days?", "13 January 2027"),
    ("what day was it 10 days ago", "19 November 2026"),
    ("90 days from today", "27 February 2027"),
    ("what is the date 2 weeks before 1 January 2027", "18 December 2026"),
    ("what date is 6 months after 15 March 2026", "15 September 2026"),
    ("What is today's date?", "29 November 2026"),
    ("What day is it today?", "Sunday"),
    ("is 2024 a leap year?", "2024 was a leap year"),
    ("Is 2100 a leap year?", "2100 is not a leap year"),
    ("How many days are in February 2024?", "29 days"),
    ("how many days does the year 2025 have", "365 days"),
    ("What week is 29 November 2026?", "week 48"),
    ("how long is it from 9:15 to 17:40", "8 hours 25 minutes"),
    ("How many minutes are there between 9:50 and 11:05?", "75 minutes"),
    ("how long is it from 9 am to 5 pm", "8 hours"),
    ("what is 2 hours 45 minutes plus 1 hour 30 minutes", "4 hours 15 minutes"),
    ("What is 3 hours minus 45 minutes?", "2 hours 15 minutes"),
    ("3 times 2 hours 15 minutes", "6 hours 45 minutes"),
    ("What time is it in Tokyo?", "21:00"),
    ("what is the time in New York?", "07:00"),
    ("what time is it in India", "17:30"),
    ("What time is it in UTC?", "12:00"),
    ("What's 15:00 London in New York?", "10:00"),
    ("If it is 3 pm in London, what time is it in Tokyo?", "00:00"),
    ("what time is it in Berlin when it is 9:30 am in Mumbai", "05:00"),
    ("What is the time difference between London and Tokyo?", "9 hours ahead of London"),
    ("What is the time difference between Tokyo and Kathmandu?", "3 hours 15 minutes behind Tokyo"),
    ("What time is it in Paris?", "13:00"),
    ("what time is it in Tunis", "13:00"),
    ("What is .5 + .5?", "1"),
    ("What is .5% of 200?", "1"),
    ("what is twenty-one plus one", "22"),
    ("what is ninety nine minus eleven", "88"),
    ("What is the difference between 5 and 7?", "2"),
    ("How many days until Friday, 25 December 2026?", "26 days"),
    ("How many days until Thursday, 25 December 2026?", None),
]
"""Question and result; None where it must be left alone."""


def made(count: int) -> list[tuple[str, str]]:
    """Make so many questions, the same ones every time."""
    dice = random.Random(SEED)
    makers = (_sum, _product, _quotient, _percent, _length, _data, _days, _weekday, _stepped, _minutes)
    return [makers[number % len(makers)](dice) for number in range(count)]


def _sum(dice: random.Random) -> tuple[str, str]:
    a, b = (Decimal(dice.randrange(1, 10**6)) / 100 for _ in range(2))
    sign, word = dice.choice([(1, "plus"), (1, "+"), (-1, "minus"), (-1, "-")])
    return f"{dice.choice(['What is', 'Calculate', 'How much is'])} {a:.2f} {word} {b:.2f}?", _plain(
        a + sign * b
    )


def _product(dice: random.Random) -> tuple[str, str]:
    a, b, c = dice.randrange(2, 999), dice.randrange(2, 999), dice.randrange(2, 99)
    return f"What is {a} {dice.choice(['*', 'x', '×', 'times'])} ({b} + {c})?", str(sum([a] * (b + c)))


def _quotient(dice: random.Random) -> tuple[str, str]:
    a, b = dice.randrange(2, 9999), 2 ** dice.randrange(1, 6) * 5 ** dice.randrange(3)
    return f"what is {a} divided by {b}", _plain(Decimal(a) / Decimal(b))


def _percent(dice: random.Random) -> tuple[str, str]:
    a, b = Decimal(dice.randrange(1, 400)) / 4, dice.randrange(1, 5000)
    return f"What is {_plain(a)}% of {b}?", _plain(Decimal(b) * a / Decimal(100))


def _length(dice: random.Random) -> tuple[str, str]:
    metres = {
        "km": "1000",
        "metres": "1",
        "cm": "0.01",
        "inches": "0.0254",
        "feet": "0.3048",
        "miles": "1609.344",
    }
    one, other = dice.sample(list(metres), 2)
    value = dice.randrange(2, 500)
    with localcontext() as context:
        context.prec = 40
        exact = Decimal(value) * Decimal(metres[one]) / Decimal(metres[other])
        return f"convert {value} {one} to {other}", _rounded(exact)


def _data(dice: random.Random) -> tuple[str, str]:
    value = dice.randrange(2, 4000)
    return f"How many MB are {value} GB?", str(value * 1000)


def _days(dice: random.Random) -> tuple[str, str]:
    first = date.fromordinal(dice.randrange(date(1900, 1, 1).toordinal(), date(2090, 1, 1).toordinal()))
    count = dice.randrange(2, 4000)
    second = date.fromordinal(first.toordinal() + count)
    return (
        f"How many days are there between {first:%B} {first.day}, {first.year} and {second.isoformat()}?",
        f"{count} days",
    )


def _weekday(dice: random.Random) -> tuple[str, str]:
    number = dice.randrange(date(1800, 1, 1).toordinal(), date(2200, 1, 1).toordinal())
    day = date.fromordinal(number)
    # Day 1 of the proleptic calendar was a Monday.
    names = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
    return f"What day of the week was {day.day} {day:%B} {day.year}?", names[number % 7]


def _stepped(dice: random.Random) -> tuple[str, str]:
    start = date.fromordinal(dice.randrange(date(1990, 1, 1).toordinal(), date(2050, 1, 1).toordinal()))
    count, unit, size = dice.randrange(2, 300), *dice.choice([("days", 1), ("weeks", 7)])
    end = start + timedelta(days=count * size)
    return (
        f"What date is {count} {unit} after {start.day} {start:%b} {start.year}?",
        f"{end.day} {end:%B} {end.year}",
    )


def _minutes(dice: random.Random) -> tuple[str, str]:
    start = dice.randrange(60, 1200)
    length = dice.randrange(2, 1439 - start)
    end = start + length
    shown = [f"{at // 60}:{at % 60:02}" for at in (start, end)]
    return f"How many minutes are there between {shown[0]} and {shown[1]}?", f"{length} minutes"


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _rounded(value: Decimal) -> str:
    """Round as is promised: exact up to twelve decimals, else six, or six significant ones below a tenth."""
    if value == round(value, 12):
        return _plain(round(value, 12))
    places = 6
    bound = Decimal("0.1")
    while value < bound:
        places, bound = places + 1, bound / 10
    return _plain(round(value, places))


ORDINARY = [
    "How much is 24/7 support?",
    "What is 24/7?",
    "What is 9/11?",
    "Call me at 555-1234.",
    "What is 555-1234?",
    "My number is +49 30 123456",
    "What is 03/04/2026?",
    "How many days between 03/04/2026 and 05/06/2026?",
    "Is the shop open on 24 December?",
    "What time does the shop open?",
    "What time is it open until on Saturday?",
    "What time is the meeting in Room 4?",
    "What time is dinner in the hotel?",
    "How much is an espresso?",
    "How much do 3 espressos cost?",
    "What is the price of 2 tickets?",
    "How many rooms does the hotel have?",
    "What is version 3.11?",
    "What is new in Python 3.12?",
    "What is HTTP 404?",
    "What does error 500 mean?",
    "What is RFC 3834?",
    "What is the limit of 4096 characters?",
    "What is a 4x4?",
    "What is 4x4?",
    "What is 1920x1080?",
    "What is 16:9?",
    "What is ISO 8601?",
    "What is C++17?",
    "What is GPT-4?",
    "Who won 3-2?",
    "What is 3-2-1?",
    "2-1",
    "10 - 12",
    "2026-11-29",
    "11/29",
    "1:1",
    "42",
    "What is 42?",
    "What is 3.14?",
    "Is 5 a lot?",
    "What is 5 service plus?",
    "What is Channel 4 plus 1?",
    "What is Canal + 2?",
    "Do I get 10% off?",
    "What is the 10% discount for students?",
    "What is 100 plus 10%?",
    "Is 20% of the team away?",
    "What is 15% of my salary?",
    "What is 20% of the price?",
    "How many percent is the tax?",
    "What is 5 in Roman numerals?",
    "What is 7 in German?",
    "How many litres are in a gallon?",
    "How many ml in a cup?",
    "How many kg is a ton?",
    "What is 5 mb in gb?",
    "What is 10 euros in dollars?",
    "Convert 10 USD to EUR.",
    "convert file 3 to pdf",
    "How many days are in a month?",
    "How many days are in a year?",
    "How many days of vacation do I get?",
    "How many days before the course can I cancel?",
    "How many days until my order arrives?",
    "How many days does delivery take?",
    "How long is the course?",
    "How long is it from Berlin to Hamburg?",
    "How long is it from 9 to 5?",
    "How long is it from 22:00 to 6:00?",
    "How many hours are between the two trains?",
    "What day is the market?",
    "What day?",
    "Which day is bin collection?",
    "What date is the conference?",
    "What date is 30 days after the invoice?",
    "What is the date of the invoice 2041?",
    "What date is 1 month after 31 January 2026?",
    "What day was 31 February 2026?",
    "What day of the week was 4 July 1066?",
    "Is 2024 a good year?",
    "What happened in 1984?",
    "What week is the fair?",
    "How old is the building from 1890?",
    "What time is it?",
    "What time is it in Springfield?",
    "What time is it in America?",
    "What time is it in the story?",
    "What is the time difference between the two buses?",
    "What is the difference between plan 1 and plan 2?",
    "What is the difference between HTTP/1.1 and HTTP/2?",
    "What is the sum of the invoice 12?",
    "What is the power of 10 people?",
    "What is the square root of happiness?",
    "What is 1.234 times the price?",
    "1.234 * 2",
    "What is 2(3+4)?",
    "What is 10/0?",
    "What is 9**9**9**9?",
    "What is 0 to the power of 0?",
    "What is __import__('os').system('id') + 1?",
    "What is (1).__class__ * 2?",
    "What is 7-Eleven?",
    "What is ten-four?",
    "What is 2024–2025?",
    "What is 2025/26?",
    "What is 2024 / 2025?",
    "What is 10–12?",
    "What is +1-800-555-1234?",
    "What is (555)-123-4567?",
    "What is 0800/12345?",
    "What is 80/20?",
    "What is 120/80?",
    "What is 0x10 + 1?",
    "What is 30 % 50?",
    "What is -7 mod 3?",
    "What is -3 squared?",
    "What is 20 percentage of 50?",
    "What is the percentage change from -5 to 5?",
    "What is the percentage difference from 50 to 60?",
    "What is 10 NM in km?",
    "What is 5 celsius and 3 fahrenheit in kelvin?",
    "What is -5 feet 3 inches in cm?",
    "What time is it in the North?",
    "What time is it in the West?",
    "What time is it in Norfolk?",
    "What time is it in Cordoba?",
    "What time is it in Christmas?",
]
