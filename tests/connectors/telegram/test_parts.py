"""A reply is cut where a reader would cut it, and nothing of it is lost."""

import pytest
from aiogram.types import MessageEntity
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.telegram.parts import PART_LIMIT, render, split, to_entities
from hub.messages import Source
from tests.connectors.telegram.harness import reply
from tests.emulators.bot_api_chats import accept_text, utf16_length

MARKDOWN = st.text(st.sampled_from("ab \n*_`~[]()#>|-1.\\$😀é\u200b\t<"), max_size=300)


def _squeezed(text: str) -> str:
    return "".join(text.split())


@settings(max_examples=150, deadline=None)
@given(MARKDOWN, st.integers(min_value=2, max_value=60))
def test_parts_fit_and_hold_everything(markdown: str, limit: int) -> None:
    """Whatever a model writes: each part fits, its entities lie on whole characters, no letter is lost."""
    text, entities = to_entities(markdown)

    parts = split(text, entities, limit)

    assert _squeezed("".join(part.text for part in parts)) == _squeezed(text)
    for part in parts:
        assert utf16_length(part.text) <= limit
        shown, _ = accept_text(part.text, part.entities)
        assert shown


@settings(max_examples=30, deadline=None)
@given(MARKDOWN)
def test_same_reply_gives_the_same_parts(markdown: str) -> None:
    """Another process goes on where the first one stopped."""
    assert render(reply(markdown)) == render(reply(markdown))


@pytest.mark.parametrize("separator", ["\n\n", "\n", " "])
def test_part_ends_between_words(separator: str) -> None:
    """At a paragraph, else at a line, else at a word."""
    text = separator.join(f"item{number:04}" for number in range(1000))

    parts = split(text, [])

    assert len(parts) > 1
    assert separator.join(part.text for part in parts) == text


def test_words_longer_than_a_message_are_cut_between_characters() -> None:
    """No half of a surrogate pair is ever sent."""
    parts = split("😀" * 5000, [])

    assert [utf16_length(part.text) for part in parts] == [4096, 4096, 1808]


def test_code_block_that_fits_stays_whole() -> None:
    """It moves to the next part rather than being torn."""
    code = "x = 1\n" * 400
    text, entities = to_entities(f"{'word ' * 500}\n\n```python\n{code}```\n\ndone")

    first, second = split(text, entities)

    assert not any(entity.type == "pre" for entity in first.entities)
    assert second.text.count("x = 1") == 400
    assert (second.entities[0].type, second.entities[0].language) == ("pre", "python")


def test_long_code_block_goes_on_as_code() -> None:
    """Every piece is code of the same language, cut between lines, with its indentation."""
    code = "".join(f"    line_{number:04} = {number}\n" for number in range(500))
    text, entities = to_entities(f"```python\n{code}```")

    parts = split(text, entities)

    assert len(parts) > 1
    for part in parts:
        [entity] = part.entities
        assert (entity.type, entity.language, entity.offset) == ("pre", "python", 0)
        assert part.text.startswith("    line_")
    assert "\n".join(part.text for part in parts) == code.rstrip()


def test_bold_text_across_parts_stays_bold() -> None:
    """An entity is carried over the cut."""
    text = "bold " * 1000
    parts = split(text, [MessageEntity(type="bold", offset=0, length=5000)])

    assert [entity.offset for part in parts for entity in part.entities] == [0, 0]
    assert all(entity.length == len(part.text) for part in parts for entity in part.entities)


def test_headings_lists_and_tables_are_sober() -> None:
    """No pictures are put in front of headings; a list keeps its points."""
    text, _ = to_entities("# Title\n\n- one\n- two\n\n![picture](https://example.org/p.png)")

    assert text.startswith("Title\n\n• one\n• two")
    assert "🖼" not in text


@pytest.mark.parametrize("empty", ["", " \n ", "\u200b"])
def test_empty_reply_is_still_a_message(empty: str) -> None:
    """Telegram refuses an empty text, and silence would be worse."""
    assert [part.text for part in render(reply(empty))] == ["…"]


def test_invisible_characters_of_a_model_are_not_sent() -> None:
    """Hidden text has no place in an answer."""
    assert render(reply("a\u202eb\U000e0041c"))[0].text == "abc"


def test_sources_are_never_read_as_markdown() -> None:
    """Titles and paths are shown as they are, one line each."""
    source = Source(number=1, title="a_b*c*", heading="x\ny", location="[l](u)", quote="q", score=1.0)

    [part] = render(reply("Yes [1].", sources=(source,)))

    assert part.text == "Yes [1].\n\nSources:\n[1] a_b*c* — x y ([l](u))"
    assert part.entities == []


def test_limit_is_that_of_telegram() -> None:
    """4096 units after entities are parsed."""
    assert PART_LIMIT == 4096
    assert len(split("x" * 4096, [])) == 1
    assert len(split("x" * 4097, [])) == 2
