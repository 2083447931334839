"""Which questions go on from an earlier one, and what is looked for then."""

import pytest

from engine.questions import asks_what_it_is, first_sentence, needs_previous, readings

PREVIOUS = "How are API keys stored?"

COMPLETE = (
    "what is a lane",
    "What is a lane?",
    "who wrote Hamlet",
    "And what is the capital of Spain?",
    "and how do I connect a mailbox?",
    "opening hours?",
    "Telegram?",
    "prices",
    "Who is the owner?",
    "what port does the gateway use",
    "How many employees are there?",
    "What is the setting that changes the port?",
    "Is there a backup?",
    "So how much is an espresso?",
    "Why is Redis needed?",
    "How large may a document be?",
    "tell me about allergens",
    "When does the bot answer in groups?",
    "Which licence is this under?",
    "Can I use PostgreSQL?",
    "asdf qwertz",
    "Et comment connecter Telegram ?",
)
INCOMPLETE = (
    "And by mail?",
    "by mail?",
    "and on Windows?",
    "What about Telegram?",
    "And a mailbox?",
    "how about the widget?",
    "How large may it be?",
    "How long are they kept?",
    "why?",
    "Why not?",
    "And then?",
    "How much?",
    "How does it work?",
    "Is this safe?",
    "Does it support groups?",
    "what does that mean?",
    "Where are they?",
    "which one?",
    "or in a group?",
    "und per Mail?",
    "Can I change it?",
)


@pytest.mark.parametrize("question", COMPLETE)
def test_a_question_with_content_of_its_own_stands_alone(question: str) -> None:
    """The previous question is not even looked at."""
    assert not needs_previous(question)
    assert [reading.is_merged for reading in readings(question, PREVIOUS, "Some quoted text.")] == [False]


@pytest.mark.parametrize("question", INCOMPLETE)
def test_a_pronoun_or_a_fragment_goes_on_from_the_last_question(question: str) -> None:
    """It is read with the previous question as well as alone."""
    found = readings(question, PREVIOUS)

    assert needs_previous(question)
    assert sorted(reading.is_merged for reading in found) == [False, True]
    assert next(reading.text for reading in found if reading.is_merged) == f"{PREVIOUS} {question}"


def test_without_an_earlier_question_there_is_one_reading() -> None:
    """Nothing is merged with nothing."""
    assert [reading.text for reading in readings("And by mail?", "", "")] == ["by mail?"]


def test_a_quoted_text_comes_after_the_persons_own_words() -> None:
    """Its first sentence is what a reply may be about."""
    quoted = first_sentence(
        "On Monday the assistant wrote:\n> To connect Telegram, create a bot. Then restart."
    )

    found = readings("And on Windows?", PREVIOUS, quoted)

    assert quoted == "To connect Telegram, create a bot."
    assert [
        reading.text.startswith(begin) for reading, begin in zip(found, (PREVIOUS, quoted), strict=False)
    ] == [
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("question", "is_definition"),
    [
        ("What is a session?", True),
        ("What is Hubbub?", True),
        ("what are dead letters", True),
        ("What is the phone number of the service?", False),
        ("What is my name?", False),
    ],
)
def test_a_definition_is_asked_for_or_not(question: str, is_definition: bool) -> None:
    """By its short form."""
    assert asks_what_it_is(question) is is_definition
