"""Which generated sentences a statement bears out."""

import pytest

from engine.evidence import Statement
from engine.grounding import Check, bears_out, is_within
from engine.text import Block
from knowledge.passages import Passage


def _statement(text: str, passage: str = "") -> Statement:
    whole = Passage(
        chunk_id=1,
        title="Shop",
        location="shop.md",
        heading="Shop",
        text=passage or text,
        version="1",
        score=0.5,
    )
    return Statement(passage=whole, position=0, block=Block("sentence", text), similarity=0.7, overlap=0.5)


@pytest.mark.parametrize(
    ("evidence", "question", "sentence", "is_borne_out"),
    [
        ("The shop opens at 9:00.", "When does it open?", "It opens at 9:00.", True),
        ("The shop opens at 9:00.", "When does it open?", "It opens at 9:30.", False),
        ("The shop opens at nine.", "When does the shop open?", "The shop opens at ten.", False),
        ("A ticket costs 2.40 euros.", "How much is a ticket?", "A ticket costs 2 euros.", False),
        ("Ana runs the shop.", "Who runs the shop?", "Ana runs the shop.", True),
        ("Ana runs the shop.", "Who runs the shop?", "The shop is run by Bob.", False),
        ("The cake is free of gluten.", "What is in the cake?", "The cake has gluten and nuts.", False),
        ("Mail is never deleted.", "What about mail?", "Mail is deleted.", False),
        ("Mail is deleted.", "What about mail?", "Mail is not deleted.", False),
        ("Mail isn't deleted.", "What about mail?", "Mail is deleted.", False),
        ("Old mail doesn’t expire.", "What about old mail?", "Old mail does expire.", False),
        ("Mail is deleted.", "What about mail?", "Mail isn't deleted.", False),
        ("Mail isn't deleted.", "What about mail?", "Mail isn't deleted.", True),
        (
            "It opens at 8:30 on weekdays and 10:00 on Saturdays.",
            "When does it open on Saturday?",
            "It opens at 8:30.",
            False,
        ),
        ("Days expire in March.", "How many days do I get?", "Days expire in March.", False),
        ("The café opens at 8:30.", "When does the school open?", "The school opens at 8:30.", False),
        ("You need Python 3.11.", "Which Python do I need?", "You need Python 3.x.", False),
        ("The shop opens at nine.", "When does the shop open?", "When does the shop open?", False),
        ("The shop opens at nine.", "When?", "", False),
        (
            "Wrong keys are counted: after 20 in a minute a pause is made.",
            "And keys?",
            "Keys are counted.",
            False,
        ),
        (
            "Wrong keys are counted: after 20 in a minute a pause is made.",
            "And?",
            "A pause after 20 minutes.",
            False,
        ),
        (
            "Set `PORT=9000` to move it, or the port with `--port 9000`.",
            "Which port?",
            "The port is 9000.",
            False,
        ),
        (
            "A key may make 10 calls in tier free, 100 calls in tier pro.",
            "How many calls?",
            "A key may make 10 calls in tier free.",
            False,
        ),
        (
            "The hub keeps data in the project, an index in the cache.",
            "Where is data?",
            "The data is in the cache.",
            False,
        ),
        ("It starts a server unless one is named.", "What does it start?", "It starts a server.", False),
        ("Makes it forget.", "What does it remember?", "It remembers that they made it forget.", False),
        (
            "All data is kept in the folder `data`.",
            "Where is my data kept?",
            "The data is kept in the folder data.",
            True,
        ),
        (
            "The gateway uses FastAPI and listens on port 8000.",
            "Which port does the gateway use?",
            "The gateway listens on port 8000.",
            True,
        ),
        (
            "The café opens at 8:30 on weekdays and at 10:00 on Saturdays.",
            "When does it open on Saturday?",
            "It opens at 8:30 on Saturdays.",
            False,
        ),
        (
            "Long answers are split, and link previews are off.",
            "How are answers shown?",
            "Answers are shown in link previews.",
            False,
        ),
        ("It connects without a password.", "How does it connect?", "It connects with a password.", False),
        (
            "The hub sends no statistics anywhere.",
            "What does the hub send?",
            "The hub sends statistics anywhere.",
            False,
        ),
        ("Logs never hold text.", "What do logs hold?", "Logs hold text.", False),
        ("Logs never hold text.", "What do logs hold?", "Logs never hold text.", True),
        ("Logs never hold text.", "What do logs never hold?", "Logs never hold text.", True),
        ("It asks and is refused, not deleted.", "What is it?", "It is not refused.", False),
        ("Mail is answered, spam is not.", "What about mail?", "Mail is not answered.", False),
        ("Mail is not read, spam is not deleted.", "What about mail?", "Mail is not read.", False),
        ("Backups are disabled by default.", "What about backups?", "Backups are by default.", False),
        ("Only staff may enter.", "Who may enter?", "Staff may enter.", False),
        ("It needs nothing but Python.", "What does it need?", "It needs Python.", False),
        (
            "A trigger is a facility that allows events of one package to be recorded by another package.",
            "What is a trigger?",
            "A trigger is a package that allows another package of events to be a recorded facility.",
            False,
        ),
    ],
)
def test_a_sentence_is_borne_out_or_not(
    evidence: str, question: str, sentence: str, is_borne_out: bool
) -> None:
    """By its words, names, numbers, denials and what the question is about."""
    assert bears_out(_statement(evidence), sentence, question) is is_borne_out


def test_unsupported_sentences_are_refused_and_repetitions_said_once() -> None:
    """The rest stays in its order."""
    check = Check("Who runs it?", [_statement("Ana runs the shop.")])

    passed = [
        check.bearer_of(text) for text in ("Ana runs the shop.", "Bob is the king.", "Ana runs the shop.")
    ]

    assert [statement is not None for statement in passed] == [True, False, False]


def test_a_text_is_followed_word_by_word() -> None:
    """The last word may not be complete yet."""
    statements = [_statement("Ana runs the shop.")]

    assert is_within("Ana runs the sh", "Who?", statements)
    assert not is_within("Ana runs the bakery ", "Who?", statements)


FIRE = "Press the red button next to the door, leave by the east staircase, and meet at the bicycle stands. Call 112."


@pytest.mark.parametrize(
    ("sentence", "question"),
    [
        ("The fire is on the east staircase.", "What should I do if there is a fire?"),
        ("A fire should be called 112.", "Who should I call if there is a fire?"),
        ("You should leave by the east staircase.", "What should I do in case of fire?"),
        ("You can meet at the bicycle stands.", "Where can we meet if there is a fire?"),
    ],
)
def test_an_instruction_is_not_turned_into_a_claim(sentence: str, question: str) -> None:
    """What is to be done is quoted: retold, it loses a step or becomes false."""
    assert not bears_out(_statement(FIRE, f"What to do in case of fire. {FIRE}"), sentence, question)
