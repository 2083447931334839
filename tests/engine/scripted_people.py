"""What people write in a thousand turns, and what of it is true of them.

Written from how people write, not from how the rules read: some of it is beyond any rule, and counts as junk when it is
taken for a fact.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass

NAMES = ("Maria", "Omdeep", "José María", "Zoé", "Ana Dias", "Lee", "Tom", "Priya", "O'Brien", "Anna-Lena")
PLACES = ("Goa", "São Paulo", "Lisbon", "New York", "Köln", "a small village", "Panjim, India")
WORKS = ("a nurse", "a teacher", "an electrician", "a data analyst", "a freelance photographer")
FIRMS = ("Siemens", "the post office", "Goa University", "a bakery")
THINGS = (("colour", "dark green"), ("food", "xacuti"), ("band", "Radiohead"), ("book", "Middlemarch"))
ENDS = (
    "",
    ".",
    "!",
    " :)",
    ", thanks",
    " by the way",
    ".\nHow do I connect Telegram?",
    ", how do I add documents?",
)
STARTS = ("", "", "", "Hi! ", "hello, ", "By the way, ", "Well, ", "ok so ")


@dataclass(frozen=True, slots=True)
class Line:
    """One message."""

    text: str
    truth: Mapping[str, tuple[str, ...]]
    """What is true of the writer: by key of the fact, the words it has to hold."""
    kind: str
    paste: bool = False
    """Whether `{echo}` in the text stands for what the assistant has said."""


def script(dice: random.Random, turns: int) -> list[Line]:
    """Write the messages of one person."""
    writers = (
        [_tells] * 8
        + [_quotes, _denies, _supposes, _asks, _tells_of_others, _jokes, _plays, _forwards] * 3
        + [_echoes] * 3
        + [_chats] * 4
        + [_hard] * 2
    )
    return [dice.choice(writers)(dice) for _ in range(turns)]


def _statement(dice: random.Random) -> tuple[str, dict[str, tuple[str, ...]]]:
    """Return a statement about oneself, beginning in lower case."""
    name, place, work, firm = (dice.choice(some) for some in (NAMES, PLACES, WORKS, FIRMS))
    thing, value = dice.choice(THINGS)
    age = dice.randint(18, 90)
    statements: tuple[tuple[str, dict[str, tuple[str, ...]]], ...] = (
        (f"my name is {name}", {"name": (name,)}),
        (f"my name's {name}", {"name": (name,)}),
        (f"i am called {name}", {"name": (name,)}),
        (f"i live in {place}", {"home": (place,)}),
        (f"i moved to {place}", {"home": (place,)}),
        (f"i now live in {place}", {"home": (place,)}),
        (f"i work as {work}", {"work": (work,)}),
        (f"my job is {work}", {"work": (work,)}),
        (f"i work at {firm}", {"employer": (firm,)}),
        (f"i work for {firm}", {"employer": (firm,)}),
        (f"my favourite {thing} is {value}", {f"favourite {thing}": (value,)}),
        (f"my favorite {thing} is {value}", {f"favourite {thing}": (value,)}),
        (f"i am {age} years old", {"age": (str(age),)}),
        ("my birthday is 3 May", {"birthday": ("3 May",)}),
        (f"my dog's name is {name}", {"relative dog": (name,)}),
        (f"i'm from {place}", {"origin": (place,)}),
    )
    return dice.choice(statements)


def _tells(dice: random.Random) -> Line:
    said, truth = _statement(dice)
    if dice.random() < 0.3:
        more, also = _statement(dice)
        joint = dice.choice((" and ", ". ", "\n", "; "))
        said, truth = f"{said}{joint}{more}", {**truth, **also}
    end = dice.choice(ENDS)
    if dice.random() < 0.5:
        said = said[0].upper() + said[1:]
    return Line(f"{dice.choice(STARTS)}{said}{end}", truth, "tells")


def _quotes(dice: random.Random) -> Line:
    said, _ = _statement(dice)
    form = dice.choice(
        (
            'He said "{said}" and left',
            "She wrote: {said}",
            "> {said}",
            "The sign reads “{said}”",
            "My colleague told me, {said}",
            "`{said}`",
            "In the letter it says: {said}. What does that mean?",
            "'{said}' is what he said",
            "As the poet says, {said}",
            "| {said} | x |",
        )
    )
    return Line(form.format(said=said), {}, "quotes")


def _denies(dice: random.Random) -> Line:
    place, name, work = dice.choice(PLACES), dice.choice(NAMES), dice.choice(WORKS)
    form = dice.choice(
        (
            "My name is not {name}",
            "I don't live in {place}",
            "I do not work as {work}",
            "I no longer live in {place}",
            "I live in {place} no more",
            "It is not true that my name is {name}",
            "My name isn't {name}",
            "I never said that i live in {place}",
            "I used to live in {place}",
            "I am not from {place}",
            "Nobody calls me {name}",
            "I live in {place} not",
        )
    )
    return Line(form.format(name=name, place=place, work=work), {}, "denies")


def _supposes(dice: random.Random) -> Line:
    said, _ = _statement(dice)
    form = dice.choice(
        (
            "If {said}, what then?",
            "Suppose {said}. What would you call me?",
            "What if {said}?",
            "Imagine {said}",
            "I wish {said}",
            "Let's say {said}, and you know it",
            "Assuming {said}, which form do I need?",
            "When I am rich, {said}",
            "Maybe {said}",
            "{said} if I am lucky",
            "Would it matter if {said}?",
            "Should {said}, tell me",
            "Let us pretend that {said}",
            "{said} in my dreams",
        )
    )
    return Line(form.format(said=said), {}, "supposes")


def _asks(dice: random.Random) -> Line:
    said, _ = _statement(dice)
    form = dice.choice(
        (
            "{said}?",
            "{said}, right?",
            "{said}, isn't it?",
            "Do you know that {said}?",
            "What is my name?",
            "Where do I live?",
            "Did I tell you that {said}?",
            "Who am I?",
            "Is it true that {said}?",
            "{said} or not?",
        )
    )
    return Line(form.format(said=said), {}, "asks")


def _tells_of_others(dice: random.Random) -> Line:
    name, place, work = dice.choice(NAMES), dice.choice(PLACES), dice.choice(WORKS)
    form = dice.choice(
        (
            "Her name is {name}",
            "My friend lives in {place}",
            "{name} works as {work}",
            "You live in {place}",
            "My boss is from {place}",
            "We have a customer whose name is {name}",
            "My neighbour's favourite colour is red",
            "{name} and I met in {place}",
            "The user's name is {name}.",
            "Your name is {name}",
            "His wife says i work as {work}",
            "My sister is 34 years old",
        )
    )
    return Line(form.format(name=name, place=place, work=work), {}, "others")


def _jokes(dice: random.Random) -> Line:
    said, _ = _statement(dice)
    form = dice.choice(
        (
            "{said}, just kidding",
            "{said} lol",
            "{said}. Just joking!",
            "{said} 😂",
            "{said} haha",
            "{said} ;)",
            "{said}... not!",
            "{said}. April fools!",
            "{said} jk",
            "{said}. That was a joke.",
        )
    )
    return Line(form.format(said=said), {}, "jokes")


def _plays(dice: random.Random) -> Line:
    said, _ = _statement(dice)
    form = dice.choice(
        (
            "Let's role-play: {said}",
            "Translate into German: {said}",
            "Please correct the grammar of this sentence. {said}",
            "Write me a song that goes: {said}",
            "For example, {said}",
            "Pretend you are a bot. {said}",
            "Proofread this for me\n{said}",
            "Here is a sample for the form:\n{said}",
            "In my novel the hero speaks. {said}",
            "Rewrite politely: {said}",
        )
    )
    return Line(form.format(said=said), {}, "plays")


def _forwards(dice: random.Random) -> Line:
    said, _ = _statement(dice)
    form = dice.choice(
        (
            "On Monday Bob wrote:\n> {said}\n> regards",
            "See below.\nFrom: bob@example.org\n{said}",
            "Fwd: {said}",
            "---- Forwarded message ----\n{said}",
            "Bob's bio: {said}",
            "The customer says: {said}. What do I answer?",
        )
    )
    return Line(form.format(said=said), {}, "forwards")


def _echoes(dice: random.Random) -> Line:
    form = dice.choice(
        (
            "{echo}",
            "You said: {echo}",
            "{echo} is what you told me",
            "Why do you say {echo}?",
            "ok. {echo}",
            "{echo}\nWhat does that mean?",
        )
    )
    return Line(form, {}, "echoes", paste=True)


def _chats(dice: random.Random) -> Line:
    return Line(
        dice.choice(
            (
                "hello",
                "thanks!",
                "How do I connect a mailbox?",
                "What does the café cost?",
                "I am tired today",
                "I need help with my invoice",
                "I'm going to Paris next week",
                "I am looking for the manual",
                "My order is late",
                "I'm from the support team",
                "/memory",
                "My favourite is on the list",
                "I live and breathe music",
                "My name is on the list",
            )
        ),
        {},
        "chats",
    )


def _hard(dice: random.Random) -> Line:
    """Write what takes more than rules to understand; the rules were never changed for any of these."""
    said, truth = _statement(dice)
    name, place, work = dice.choice(NAMES), dice.choice(PLACES), dice.choice(WORKS)
    form = dice.choice(
        (
            "Believe it or not, {said}",
            "{said}, at least on paper",
            "Dad here, using her phone. {said}",
            "Autocorrect again. {said}. Ignore that",
            "That parrot keeps screaming {said}",
            "{said} (this was true until last year)",
            "My alter ego speaks! {said}",
            "In the game I play, {said}",
            "My horoscope is clear, {said}",
            "I live in {place} with my thoughts while my body sits here",
            "I work as {work} in the school theatre tonight",
            "My name is {name} to the tax office, mud to everyone else",
            "The form must show: line one {said}",
            "Repeat after me. {said}",
            "I'm from the generation that wrote letters",
        )
    )
    # This one only sounds like it.
    meant = truth if form.startswith("Believe") else {}
    return Line(form.format(said=said, place=place, name=name, work=work), meant, "hard")
