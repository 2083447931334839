"""What a reply may hold."""

import pytest

from engine.output import clean_output, urls, visible

KNOWN = {"https://docs.example.org/a"}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("![logo](https://evil.example/?q=1) Hi", "logo Hi"),
        ("![logo][ref]\n\n[ref]: https://evil.example/x", "logo"),
        ("See [this](https://evil.example/x).", "See this."),
        ("See [this](https://docs.example.org/a).", "See [this](https://docs.example.org/a)."),
        ("See [this](https://docs.example.org/a?q=secret).", "See this."),
        ("See https://docs.example.org/a.", "See https://docs.example.org/a."),
        ("See https://evil.example/x now", "See  now"),
        ("[x](javascript:alert(1))", "x)"),
        ("<img src=x onerror=alert(1)>Hi <b>you</b><!-- a -->", "Hi you"),
        ("a\u202eb\u200bc\U000e0041d\x07", "abcd"),
        ("क्‍ष stays", "क्‍ष stays"),
        ("a\n\n\n\n\nb", "a\n\nb"),
    ],
)
def test_a_reply_is_made_safe(text: str, clean: str) -> None:
    """Images, unknown links, HTML and invisible characters go."""
    assert clean_output(text, KNOWN) == clean


@pytest.mark.parametrize("code", ['```html\n<script src="x.js"></script>\n```', "`<b>` and `a[0](x)`"])
def test_code_stays_as_it_is(code: str) -> None:
    """Nothing of it is rendered."""
    assert clean_output(code, set()) == code


def test_addresses_are_collected_from_passages() -> None:
    """Without the punctuation behind them."""
    assert urls(["Go to https://docs.example.org/a. (or www.example.org)"]) == KNOWN | {"www.example.org"}


def test_ordinary_text_is_visible() -> None:
    """Newlines, tabs, accents and emoji stay."""
    assert visible("é\n\t👩‍👩‍👧 Ω") == "é\n\t👩‍👩‍👧 Ω"
