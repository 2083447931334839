"""What a reply may hold."""

import random
from itertools import chain

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from engine.output import clean_output, urls, visible
from tests.cost import LINEAR, growth

KNOWN = {"https://docs.example.org/a"}
RENDERERS = (
    MarkdownIt("commonmark", {"html": True}),
    MarkdownIt("commonmark", {"html": True}).enable("table"),
)
PIECES = [
    *("`", "``", "```", "````", "~~~", "\\", "\\`", "\n", "\n\n", "    ", "  ", " ", "\t", "\u2028", "\x0b"),
    *(
        "![x]",
        "[x]",
        "(//evil.example/q)",
        "[a]",
        "[a]: //evil.example",
        "![",
        "](",
        "]",
        ")",
        "(",
        "!",
        "[",
        ":",
    ),
    *(
        "<b>",
        "<img src=//evil.example>",
        "<!--",
        "-->",
        "<",
        ">",
        "<a href='",
        "&lt;",
        "'",
        '"',
        "<https://evil.example>",
    ),
    *(
        "- ",
        "# ",
        "> ",
        "1. ",
        "|",
        "|---|---|\n",
        "www.evil.example",
        "javascript:x",
        "[x](javascript:a)",
        "a",
    ),
    *("(https://docs.example.org/a)", "https://docs.example.org/a", "https://evil.example/"),
]
"""What Markdown is made of, and what should not come out of it."""


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


@pytest.mark.parametrize(
    "text",
    [
        "![x](//evil.example/q.png)",
        "!<b></b>[x]<b></b>(//evil.example/q)",
        "!http://a.b[x]http://a.b(//evil.example/q)",
        "![a [b] c](//evil.example/q)",
        "[a\\]b]\n\n[a\\]b]: //evil.example/q",
        "[a]\n\n[a]:\n//evil.example/q",
        "```x```\n<img src=//evil.example/q>\n```",
        "\\`![x](//evil.example/q)\\`",
        "```![x](//evil.example/q)`",
        "`a\nb` ![x](//evil.example/q) `c`",
        "`a\\` ![x](//evil.example/q) `b`",
        "- a\n  ```\n![x](//evil.example/q)\n  ```",
        "```\n    ```\n```\n![x](//evil.example/q)\n```",
        "<b>```\ncode\n```\n![x](//evil.example/q)\n```",
        "| ` | ![x](//evil.example/q) | ` |\n|---|---|---|",
        '<a title="`"> ![x](//evil.example/q) `',
    ],
)
def test_nothing_is_hidden_behind_what_looks_like_code(text: str) -> None:
    """Nor put together by what is taken away."""
    assert _shown(clean_output(text, KNOWN)) == []


def test_no_arrangement_of_marks_shows_what_it_should_not() -> None:
    """Looked at with another reader of Markdown."""
    dice = random.Random(20261129)
    texts = ["".join(dice.choices(PIECES, k=dice.randint(3, 25))) for _ in range(3000)]

    cleaned = [clean_output(text, KNOWN) for text in texts]

    assert [(text, clean) for text, clean in zip(texts, cleaned, strict=True) if _shown(clean)] == []
    assert any("](https://docs.example.org/a)" in clean for clean in cleaned)
    assert sum(bool(_shown(text)) for text in texts) > 500


def _shown(text: str) -> list[str]:
    """Return images, foreign links and HTML that a reader of Markdown finds."""
    found = []
    for renderer in RENDERERS:
        tokens = renderer.parse(text)
        for token in chain(tokens, *(token.children or () for token in tokens)):
            found += _harm(token)
    return found


def _harm(token: Token) -> list[str]:
    match token.type:
        case "image" | "html_inline" | "html_block":
            return [token.content or token.type]
        case "link_open" if (address := str(token.attrs["href"])) not in KNOWN:
            return [address]
    return []


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "![",
        "[a](",
        "<!--",
        "[[",
        " ",
        "\n",
        ".\n",
        "`a",
        "`",
        "``` ",
        "\n```",
        "\n#",
        "[\n",
        "![" + "a" * 80,
    ],
)
def test_no_reply_takes_long(text: str) -> None:
    """However it was made."""
    assert growth(lambda reply: clean_output(reply, KNOWN), (text * 100_000)[:100_000]) < LINEAR


def test_addresses_are_collected_from_passages() -> None:
    """Without the punctuation behind them."""
    assert urls(["Go to https://docs.example.org/a. (or www.example.org)"]) == KNOWN | {"www.example.org"}


def test_ordinary_text_is_visible() -> None:
    """Newlines, tabs, accents and emoji stay."""
    assert visible("é\n\t👩‍👩‍👧 Ω") == "é\n\t👩‍👩‍👧 Ω"
