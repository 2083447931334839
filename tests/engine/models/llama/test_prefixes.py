"""What prompts may take from each other: the tree against a comparison of everything with everything."""

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.models.llama.prefixes import PrefixIndex, PrefixTree, common_length


def _tokens(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(numbers, np.int32)


TEXTS = st.lists(st.integers(0, 2), max_size=8)
"""Of so few tokens that they begin alike often."""


@dataclass(frozen=True)
class _Held:
    tokens: list[int]
    shared: int
    audience: str


HELD = st.builds(_Held, TEXTS, st.integers(0, 8), st.sampled_from(["", "one", "other"]))


def _alike(one: list[int], other: list[int]) -> int:
    return next(
        (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _allowed(held: _Held, wanted: _Held) -> int:
    """Count the tokens one may take from another, as the rule says it."""
    alike = _alike(held.tokens, wanted.tokens)
    if held.audience and held.audience == wanted.audience:
        return alike
    return min(alike, held.shared, wanted.shared)


def test_texts_begin_alike_up_to_the_first_difference() -> None:
    """Nothing in common is 0, and the shorter text is the limit."""
    assert common_length(_tokens(1, 2, 3), _tokens(1, 2, 4, 5)) == 2
    assert common_length(_tokens(1, 2), _tokens(1, 2, 3)) == 2
    assert common_length(_tokens(4), _tokens(1)) == 0
    assert common_length(_tokens(), _tokens(1)) == 0


@given(st.lists(st.tuples(st.integers(0, 4), TEXTS), max_size=12), st.sets(st.integers(0, 4)), TEXTS)
def test_the_tree_finds_what_a_comparison_with_every_text_finds(
    added: list[tuple[int, list[int]]], removed: set[int], wanted: list[int]
) -> None:
    """Texts that were replaced or removed leave no trace."""
    tree: PrefixTree[int] = PrefixTree()
    for holder, text in added:
        tree.add(holder, _tokens(*text))
    for holder in removed:
        tree.remove(holder)
    left = {holder: text for holder, text in dict(added).items() if holder not in removed}

    found = tree.matches(_tokens(*wanted))

    assert found == {holder: length for holder, text in left.items() if (length := _alike(text, wanted))}
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert len(tree) == sum(bool(text) for text in left.values())


@given(st.lists(st.tuples(st.integers(0, 4), HELD), max_size=12), st.sets(st.integers(0, 4)), HELD)
def test_nobody_takes_more_than_the_rule_allows(
    added: list[tuple[int, _Held]], removed: set[int], wanted: _Held
) -> None:
    """Beyond what both share with everybody, texts are matched within one audience only; the empty one has none."""
    index: PrefixIndex[int] = PrefixIndex()
    for holder, held in added:
        index.add(holder, _tokens(*held.tokens), shared=held.shared, audience=held.audience)
    for holder in removed:
        index.remove(holder)
    left = {holder: held for holder, held in dict(added).items() if holder not in removed}

    found = index.matches(_tokens(*wanted.tokens), shared=wanted.shared, audience=wanted.audience)

    assert found == {holder: length for holder, held in left.items() if (length := _allowed(held, wanted))}


def test_a_text_of_another_audience_is_no_match_even_when_it_is_the_same() -> None:
    """Guessing what somebody else said gives nothing away, neither to an audience nor to the empty one."""
    index: PrefixIndex[str] = PrefixIndex()
    secret = _tokens(*range(100))
    index.add("conversation", secret, shared=10, audience="one")
    index.add("nobody's", secret, shared=10, audience="")

    for audience in ("other", ""):
        assert index.matches(secret, shared=10, audience=audience) == {"conversation": 10, "nobody's": 10}
        assert index.matches(secret, shared=0, audience=audience) == {}
    assert index.matches(secret, shared=10, audience="one") == {"conversation": 100, "nobody's": 10}
