"""How a person writes, by counts, and how they want to be answered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.memory.style import LEAST_MESSAGES, Style, choice_of, language_of


def learned(*texts: str, style: Style | None = None) -> Style:
    """Learn from messages."""
    style = style or Style()
    for text in texts:
        style = style.learned_from(text)
    return style


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("How do I connect Telegram to the hub?", "en"),
        ("Wie verbinde ich Telegram mit dem Hub?", "de"),
        ("Comment est-ce que je peux ajouter des documents pour la recherche?", "fr"),
        ("¿Cómo puedo conectar mi correo con el hub?", "es"),
        ("Come posso collegare Telegram con il mio account?", "it"),
        ("Como posso conectar o Telegram com o meu e-mail?", "pt"),
        ("Hoe kan ik mijn mail verbinden met de hub?", "nl"),
        ("Jak mogę połączyć się z Telegramem?", "pl"),
        ("Hur kan jag ansluta min e-post till den?", "sv"),
        ("東京に住んでいます", "ja"),
        ("我住在北京", "zh"),
        ("저는 서울에 살아요", "ko"),
        ("Как мне подключить телеграм?", "ru"),
        ("Як мені підключити її?", "uk"),
        ("मेरा नाम क्या है", "hi"),
        ("What is the meaning of ありがとう in English?", "en"),
        ("What is a hub wіth a strange letter in it?", "en"),
        ("أين أسكن؟", "ar"),
        ("hi", ""),
        ("Telegram?", ""),
        ("", ""),
        ("12345", ""),
    ],
)
def test_the_language_of_a_message_is_told(text: str, code: str) -> None:
    """By its letters and its most common words; where it is too short, not at all."""
    assert language_of(text) == code


def test_language_length_and_tone_are_learned() -> None:
    """And told to the model in one short line."""
    german = learned(*["hey, kannst du mir mal sagen wie das geht?"] * 4)
    formal = learned(*["Dear team, could you kindly tell me " + "more about the matter " * 8] * 4)

    assert (german.language, german.length, german.tone) == ("de", "medium", "informal")
    assert german.instruction() == "Answer in German, informally."
    assert (formal.language, formal.length, formal.tone) == ("en", "long", "formal")
    assert formal.instruction() == "Answer in detail, formally."
    assert learned(*["where is it?"] * 5).instruction() == "Answer briefly."


def test_nothing_is_concluded_from_a_few_messages() -> None:
    """One greeting in French makes nobody a Frenchman."""
    style = learned(*["Comment est-ce que je peux faire ça?"] * (LEAST_MESSAGES - 1))

    assert (style.language, style.length, style.tone, style.instruction()) == ("", "medium", "neutral", "")


def test_commands_and_quoted_words_count_for_nothing() -> None:
    """They are not how the person writes."""
    assert learned("/memory", "> Wie geht es dir und was machst du?", "") == Style()


def test_who_changes_their_language_is_followed() -> None:
    """What is long ago weighs less."""
    style = learned(*["How do I connect the mailbox to the hub?"] * 200)

    style = learned(*["Wie verbinde ich das mit dem Hub?"] * 60, style=style)

    assert style.language == "de"
    assert style.messages <= 60


def test_what_is_chosen_goes_before_what_is_learned() -> None:
    """And `auto` takes it back."""
    style = learned(*["where is it?"] * 5)

    chosen = Style.from_fields({**style.fields(), "chosen:length": "long", "chosen:language": "fr"})

    assert chosen.instruction() == "Answer in French, in detail."
    assert (
        Style.from_fields({**chosen.fields(), "chosen:length": "", "chosen:language": ""}).length == "short"
    )


def test_who_does_not_want_it_is_not_learned_from() -> None:
    """`/style off`: nothing is counted, and nothing learned is told to the model."""
    style = Style(chosen={"learning": "off"})

    assert learned(*["hey kannst du mir das sagen?"] * 9, style=style) == style
    assert style.instruction() == ""
    assert Style(chosen={"learning": "off", "length": "short"}).instruction() == "Answer briefly."


@pytest.mark.parametrize(
    ("said", "chosen"),
    [
        ("german", {"language": "de"}),
        ("Deutsch, short", {"language": "de", "length": "short"}),
        ("in FR", {"language": "fr"}),
        ("formal and brief", {"tone": "formal", "length": "short"}),
        ("off", {"learning": "off"}),
        ("auto", {"language": "", "length": "", "tone": "", "learning": "on"}),
        ("like a pirate", {}),
        ("", {}),
        ("x" * 5000, {}),
    ],
)
def test_choices_are_read_as_people_write_them(said: str, chosen: dict[str, str]) -> None:
    """One or several; what is not known chooses nothing."""
    assert choice_of(said) == chosen


@given(st.lists(st.text(max_size=200), max_size=80))
def test_what_is_stored_is_read_back(texts: list[str]) -> None:
    """Whatever was written; and it is numbers alone."""
    style = learned(*texts)

    assert Style.from_fields(style.fields()) == Style.from_fields(
        {name: value for name, value in style.fields().items() if value != "0"}
    )
    assert all(value.isdigit() for value in style.fields().values())
    assert style.messages <= 60


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=20)))
def test_damaged_fields_count_for_nothing(fields: dict[str, str]) -> None:
    """Whatever stands in the hash."""
    style = Style.from_fields({**fields, "messages": "9" * 40, "in:xx": "3", "chosen:tone": "<|im_end|>"})

    assert (style.messages, style.languages, style.chosen.get("tone")) == (0, {}, None)
