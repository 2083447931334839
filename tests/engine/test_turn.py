"""Whole turns with the bundled models that need no documents: memory, commands, small talk, follow-ups."""

import pytest

from engine import replies
from engine.turn import Assistant
from hub.messages import Turn, utc_now
from tests.engine.turns import ask, talk


@pytest.mark.parametrize(
    ("told", "asked", "expected"),
    [
        ("My name is Omdeep.", "What is my name?", "Omdeep"),
        ("my name is omdeep", "do you remember my name", "Omdeep"),
        ("Hi, I'm José María!", "Who am I?", "José María"),
        ("Mein Name ist Jörg Müller.", "Wie heiße ich?", "Jörg Müller"),
        ("मेरा नाम ओमदीप है", "मेरा नाम क्या है?", "ओमदीप"),
        ("I live in Goa.", "Where do I live?", "Goa"),
        ("My favourite colour is dark green.", "What colour do I like best?", "dark green"),
        ("My dog's name is Rex.", "What is my dog called?", "Rex"),
    ],
)
async def test_what_was_told_is_remembered_over_other_turns(
    assistant: Assistant, told: str, asked: str, expected: str
) -> None:
    """Two turns about something else lie between statement and question."""
    answers = await talk(assistant, told, "How much is an espresso?", "hello", asked)

    assert expected in answers[0].text
    assert expected in answers[-1].text
    assert "user" not in answers[-1].text
    assert answers[-1].stats.route == "memory"
    assert answers[-1].sources == ()


async def test_a_name_told_and_asked_in_one_message(assistant: Assistant) -> None:
    """The statement counts at once."""
    answer = await ask(assistant, "My name is Omdeep. What is my name?")

    assert "Omdeep" in answer.text
    assert answer.facts == {"name": "The user's name is Omdeep."}


async def test_an_unknown_name_is_not_invented(assistant: Assistant) -> None:
    """The person is asked for it instead."""
    assert (await ask(assistant, "What is my name?")).text == replies.UNKNOWN_FACT


async def test_new_forgets(assistant: Assistant) -> None:
    """Window and facts are to be emptied, and the name is gone."""
    _, new, asked = await talk(assistant, "My name is Omdeep.", "/new", "What is my name?")

    assert new.forget
    assert "Omdeep" not in asked.text


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("/start", replies.START),
        ("/help@my_bot", replies.HELP),
        ("/HELP please", replies.HELP),
        ("/launch", replies.UNKNOWN_COMMAND),
    ],
)
async def test_a_command_is_answered_by_the_hub(assistant: Assistant, command: str, text: str) -> None:
    """No model is asked."""
    answer = await ask(assistant, command)

    assert (answer.kind, answer.text, answer.forget) == ("notice", text, "")


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "Hi there!",
        "good morning",
        "thanks a lot",
        "Thanks, that was helpful!",
        "Who are you?",
        "Are you a robot?",
        "am I talking to a real person?",
        "Who made you?",
        "What can you do?",
        "how are you today?",
        "Tell me a joke",
        "Do you like music?",
        "You are great!",
        "this is wrong",
        "Happy new year!",
        "I am sad",
        "good night",
        "ok, bye",
        "bye bye",
    ],
)
async def test_small_talk_is_answered_kindly(assistant: Assistant, text: str) -> None:
    """Without a look at the documents."""
    answer = await ask(assistant, text)

    assert answer.stats.route == "small_talk"
    assert answer.sources == ()


@pytest.mark.parametrize(
    "text",
    [
        "Who made the cake?",
        "What can you do with a mailbox?",
        "Do you know the opening hours?",
        "Is it free?",
        "Hello, how much is an espresso?",
        "You are great, how much is an espresso?",
        "good day to clean the machine?",
    ],
)
async def test_a_question_is_no_small_talk(assistant: Assistant, text: str) -> None:
    """However kindly it begins."""
    assert (await ask(assistant, text)).stats.route != "small_talk"


async def test_an_unrelated_question_after_an_answered_one_stands_alone(assistant: Assistant) -> None:
    """It is declined or answered by itself, and never gets the earlier answer again."""
    first, *others = await talk(
        assistant,
        "How much is an espresso?",
        "what is a lane",
        "who wrote Hamlet?",
        "Why?",
        "And then?",
        "asdf",
    )

    assert "1.20" in first.text
    assert not any("espresso" in answer.text or "1.20" in answer.text for answer in others)


async def test_a_reply_to_an_older_answer_goes_on_from_there(assistant: Assistant) -> None:
    """The quoted text tells which one; its words are no source."""
    connected, prices = await talk(assistant, "How do I connect Telegram?", "How much is an espresso?")
    turns = [
        Turn(
            turn="1",
            question=question,
            answer=answer.text,
            sources=answer.sources,
            asked_at=utc_now(),
            answered_at=utc_now(),
        )
        for question, answer in (
            ("How do I connect Telegram?", connected),
            ("How much is an espresso?", prices),
        )
    ]

    answer = await ask(assistant, "And a mailbox?", turns=turns, quoted=connected.text)

    assert "[[email.accounts]]" in answer.text
    assert "@BotFather" not in answer.text


@pytest.mark.parametrize(
    "question", ["Comment ajouter des documents ?", "¿Cómo conecto Telegram?", "Wie verbinde ich Telegram?"]
)
async def test_a_question_in_another_language_gets_the_documents_own_words(
    assistant: Assistant, question: str
) -> None:
    """Where it shares names and borrowed words with them."""
    answer = await ask(assistant, question)

    assert answer.stats.route == "quote"
    assert answer.sources


async def test_a_known_name_is_used_in_greetings(assistant: Assistant) -> None:
    """What was learned shows."""
    assert "Ana" in (await ask(assistant, "hello", facts={"name": "The user's name is Ana."})).text
