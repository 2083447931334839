"""How deeply JSON is nested."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.json_depth import is_deeper_than
from tests.cost import LINEAR, growth

VALUES = st.recursive(
    st.none() | st.text('[]{}"\\a', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('[{"\\', max_size=3), inner, max_size=3)
    ),
    max_leaves=30,
)


def depth_of(value: Any) -> int:
    """Count along the deepest way."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(depth_of, inside), default=0)


@given(VALUES)
def test_depth_is_that_of_the_value(value: Any) -> None:
    """Brackets in strings count for nothing."""
    text, depth = json.dumps(value), depth_of(value)

    assert not is_deeper_than(depth, text)
    assert depth == 0 or is_deeper_than(depth - 1, text)


@pytest.mark.parametrize("text", ["[]", "[", "]", '"', '\\"', '"[', "[]{}", '["', "\\"])
def test_no_text_takes_long(text: str) -> None:
    """Nor does what is no JSON at all."""
    assert (
        growth(lambda part: is_deeper_than(32, part), "[" * 8 + "]" * 8 + (text * 100_000)[:100_000]) < LINEAR
    )
