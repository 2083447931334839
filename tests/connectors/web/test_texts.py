"""What the widget says in twelve languages."""

import re

from connectors.web.pages import STATIC
from tests.connectors.web.texts import KEYS, TEXTS

LANGUAGES = {"en", "de", "es", "fr", "it", "pt", "nl", "pl", "ru", "hi", "ar", "zh"}


def test_every_language_says_everything() -> None:
    """The same texts, and in each the same values."""
    assert set(TEXTS) == LANGUAGES
    for code, texts in TEXTS.items():
        for key, text in texts.items():
            assert text, (code, key)
            assert text.strip() == text, (code, key)
            assert text.count("{}") == TEXTS["en"][key].count("{}"), (code, key)


def test_every_text_is_there_and_used() -> None:
    """A key that is misspelt would show as undefined; one that nobody says is weight."""
    code = "\n".join(file.read_text("utf-8") for file in STATIC.glob("*.js") if file.name != "texts.js")

    assert set(re.findall(r'say\("(\w+)"', code)) <= set(KEYS)
    for key in KEYS:
        assert f'"{key}"' in code or f"{key}: code" in code, key


def test_languages_do_not_say_the_same() -> None:
    """A line that was copied and not translated."""
    lines = {code: "|".join(texts.values()) for code, texts in TEXTS.items()}

    assert len(set(lines.values())) == len(LANGUAGES)
    for key in ("message", "offline", "stopped", "greeting"):
        assert len({texts[key] for texts in TEXTS.values()}) >= len(LANGUAGES) - 1, key
