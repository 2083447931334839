"""How the next token is chosen."""

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.models.base import GenerateOptions
from engine.models.llama.sampling import Sampler, top
from engine.models.llama.vocabulary import Vocabulary
from hub.errors import ModelError, OptionRefused

DRAWS = 4_000


class _Letters:
    """A small vocabulary, so that a distribution can be seen in a few draws."""

    size = 12
    end_tokens = frozenset({11})
    silent_tokens = np.array([], np.int32)


def _sampler(vocabulary: Any = _Letters, **options: Any) -> Sampler:
    made = Sampler.create(vocabulary, GenerateOptions(max_tokens=1, **options))
    assert made is not None
    return made


def _expected(
    logits: NDArray[np.float32], temperature: float, top_k: int, top_p: float, min_p: float
) -> NDArray[np.float64]:
    """Compute the distribution by the definitions, one after the other."""
    order = np.argsort(-logits, kind="stable")[: top_k or None]
    odds = np.exp(logits[order].astype(np.float64) - logits.max())
    odds /= odds.sum()
    kept = max(1, int((np.cumsum(odds) - odds < top_p).sum()))
    is_kept = (np.arange(len(order)) < kept) & (odds >= min_p * odds[0])
    is_kept[0] = True
    weights = np.where(is_kept, np.exp((logits[order].astype(np.float64) - logits.max()) / temperature), 0)
    distribution = np.zeros(len(logits))
    distribution[order] = weights / weights.sum()
    return distribution


@given(
    logits=st.lists(st.floats(-4, 4, width=32), min_size=12, max_size=12, unique=True),
    temperature=st.sampled_from([0.3, 0.7, 1.0, 2.0]),
    top_k=st.sampled_from([0, 1, 3, 40]),
    top_p=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    min_p=st.sampled_from([0.0, 0.1, 1.0]),
)
@settings(max_examples=25, deadline=None)
def test_tokens_come_as_often_as_the_definitions_say(
    logits: list[float], temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    """Top-k, then top-p and min-p on what is left, then temperature: frequencies are the probabilities."""
    row = np.array(logits, np.float32)
    sampler = _sampler(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)

    seen = Counter(sampler.sample(row.copy()) for _ in range(DRAWS))

    expected = _expected(row, temperature, top_k, top_p, min_p)
    assert all(expected[token] > 0 for token in seen)
    # Five standard deviations of a frequency.
    margin = 5 * np.sqrt(expected * (1 - expected) / DRAWS) + 1e-9
    found = np.array([seen[token] / DRAWS for token in range(len(row))])
    assert (np.abs(found - expected) <= margin).all()


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 3_000), st.sampled_from([1, 40, 256, 2_999]), st.integers(1, 40)
)
@settings(deadline=None)
def test_the_highest_logits_are_found(seed: int, size: int, count: int, values: int) -> None:
    """Looking at blocks first finds what sorting finds, equal logits and all."""
    logits = np.random.default_rng(seed).integers(0, values, size).astype(np.float32)

    assert top(logits, count).tolist() == np.argsort(-logits, kind="stable")[:count].tolist()


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63])
def test_a_seed_decides_what_is_drawn(vocabulary: Vocabulary, seed: int) -> None:
    """The same seed draws the same tokens; another one draws others."""
    rows = np.random.default_rng(1).normal(0, 2, (20, vocabulary.size)).astype(np.float32)
    once, again, other = (_sampler(vocabulary, temperature=1.0, seed=one) for one in (seed, seed, seed + 1))

    drawn = [once.sample(row.copy()) for row in rows]

    assert drawn == [again.sample(row.copy()) for row in rows]
    assert drawn != [other.sample(row.copy()) for row in rows]


def test_the_likeliest_token_needs_no_sampler() -> None:
    """Without chance, penalty, bias and grammar the caller takes the highest logit."""
    assert Sampler.create(_Letters(), GenerateOptions(max_tokens=1)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("temperature", [1e-300, 1e-9, 100.0, 1e300])
@pytest.mark.parametrize("top_p", [0.0, 1e-300, 1.0])
@pytest.mark.parametrize("top_k", [0, 1, 10**9])
def test_extreme_values_give_tokens(temperature: float, top_p: float, top_k: int) -> None:
    """Nothing overflows; nearly no heat or no mass is the likeliest token, great heat is any."""
    row = np.array([-1e30, 3, 2, 1, 0, 3.4e38, -np.inf, 0, 0, 0, 0, 0], np.float32)
    sampler = _sampler(temperature=temperature, top_p=top_p, top_k=top_k)

    drawn = {sampler.sample(row.copy()) for _ in range(50)}

    is_even = temperature == 1e300 and top_p == 1 and top_k != 1
    assert drawn <= {0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11} if is_even else drawn == {5}


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"temperature": -0.1},
        {"top_p": float("nan")},
        {"top_p": 1.1},
        {"top_p": -0.1},
        {"min_p": 2},
        {"top_k": -1},
        {"repeat_penalty": 0},
        {"repeat_penalty": float("nan")},
        {"logit_bias": ((12, 1.0),)},
        {"logit_bias": ((-1, 1.0),)},
        {"logit_bias": ((1, float("nan")),)},
        {"grammar": 'root ::= "a"', "json_schema": "{}"},
    ],
    ids=str,
)
def test_a_value_out_of_range_is_refused(options: dict[str, Any]) -> None:
    """What has no meaning is said before anything is computed."""
    with pytest.raises(OptionRefused):
        _sampler(**{"temperature": 1.0, **options})


def test_logits_that_are_not_numbers_are_an_error() -> None:
    """A model that computes nonsense ends the answer, not the process."""
    with pytest.raises(ModelError):
        _sampler(temperature=1.0).sample(np.full(12, np.nan, np.float32))


def test_a_bias_moves_a_token() -> None:
    """What is added to a logit counts, also for the likeliest token."""
    sampler = _sampler(logit_bias=((3, 10.0), (4, -100.0)))

    assert sampler.sample(np.array([0, 0, 0, 1, 10, 0, 0, 0, 0, 0, 0, 0], np.float32)) == 3


def test_what_was_said_lately_becomes_less_likely() -> None:
    """A repeated token is penalised whether its logit is above or below 0, and after 64 others no more."""
    for high, low in ((2.0, 1.5), (-1.0, -1.5)):
        sampler = _sampler(repeat_penalty=2.0)
        row = np.full(12, -9.0, np.float32)
        row[[0, 1]] = high, low
        assert [sampler.sample(row.copy()) for _ in range(2)] == [0, 1]

    sampler = _sampler(repeat_penalty=2.0)
    first, others = (np.full(12, -9.0, np.float32) for _ in range(2))
    first[[0, 1]] = 2.0, 1.5
    others[2] = 99.0
    sampler.sample(first.copy())
    for _ in range(64):
        sampler.sample(others.copy())
    assert sampler.sample(first.copy()) == 0


def test_a_grammar_decides_among_likely_tokens(vocabulary: Vocabulary) -> None:
    """The likeliest token that the grammar allows is taken, and at its end the answer ends."""
    sampler = _sampler(vocabulary, grammar='root ::= "yes" | "no"')
    logits = np.zeros(vocabulary.size, np.float32)
    (maybe,), (no,) = (vocabulary.tokenize(text, is_template=False) for text in ("maybe", "no"))
    logits[[maybe, no]] = 5, 2

    assert sampler.sample(logits.copy()) == no
    assert sampler.sample(logits.copy()) in vocabulary.end_tokens
    sampler.close()


def test_chance_keeps_to_a_grammar_as_the_logits_weigh_it(vocabulary: Vocabulary) -> None:
    """Of two allowed words each comes as often as their logits say, though both are unlikely at first."""
    (yes,), (no,) = (vocabulary.tokenize(text, is_template=False) for text in ("yes", "no"))
    logits = np.full(vocabulary.size, -50, np.float32)
    logits[[token for token in range(2_000) if vocabulary.piece(token)[:1] not in {b"y", b"n"}]] = 10
    logits[[yes, no]] = 5, 5 + np.log(3)
    seen: Counter[int] = Counter()

    for seed in range(600):
        sampler = _sampler(vocabulary, grammar='root ::= "yes" | "no"', temperature=1.0, top_p=1.0, seed=seed)
        seen[sampler.sample(logits.copy())] += 1
        sampler.close()

    assert set(seen) == {yes, no}
    assert 0.66 < seen[no] / 600 < 0.84


def test_special_tokens_are_never_part_of_a_grammar(vocabulary: Vocabulary) -> None:
    """A token without text would change nothing the reader sees, and a document would not parse."""
    (special,) = vocabulary.tokenize("<|im_start|>", is_template=True)
    sampler = _sampler(vocabulary, grammar="root ::= [^a]+")
    logits = np.zeros(vocabulary.size, np.float32)
    logits[special] = 100

    assert sampler.sample(logits) != special
    sampler.close()


@pytest.mark.parametrize(
    "grammar",
    [
        "no grammar",
        'start ::= "a"',
        'root ::= "a',
        'root ::= root "a" | "b"',
        "root ::= nothing",
        'root ::= ("a"',
        'root ::= "a")',
        "root ::= " + "(" * 5_000 + '"a"' + ")" * 5_000,
        "root ::= " + '"a"? ' * 1_000,
        "root ::= " + '("a"? | "a"?) ' * 40,
        "root ::= [a-z]{100000}",
        "root ::= (([a-z]{0,999}){0,999}){0,999}",
        "root ::= r0\n" + "\n".join(f"r{n} ::= r{n + 1} | r{n + 1}" for n in range(40)) + '\nr40 ::= "a"',
        'root ::= "' + "x" * 70_000 + '"',
        'root ::= "a\0b"',
    ],
    ids=lambda text: text[:30],
)
def test_a_grammar_that_cannot_be_followed_is_refused(vocabulary: Vocabulary, grammar: str) -> None:
    """Broken, endless, too deep or with too many ways: refused before llama.cpp is kept busy by it."""
    with pytest.raises(OptionRefused):
        Sampler.create(vocabulary, GenerateOptions(max_tokens=1, grammar=grammar))


@pytest.mark.parametrize(
    ("grammar", "text"),
    [
        ('root ::= "a" | "b" # comment\n', "b"),
        ('root ::= [0-9]{4} "-" [0-9]{2,}', "2024-123"),
        ('root ::= item+\nitem ::= "- " [^\\n]* "\\n"', "- one\n- two\n"),
        ('root ::= "(" (root ("," root)*)? ")"', "((),(()))"),
        ('root ::= (\n  "a" |\n  "b"\n)*', "abba"),
        ('root ::= "\\"" [^"\\\\]* "\\""', '"x ü"'),
    ],
)
def test_a_grammar_is_followed_to_its_end(vocabulary: Vocabulary, grammar: str, text: str) -> None:
    """Tokens that are asked for come when the grammar allows them, and the end when it is reached."""
    sampler = _sampler(vocabulary, grammar=grammar)
    wanted = [*vocabulary.tokenize(text, is_template=False), min(vocabulary.end_tokens)]

    for token in wanted:
        logits = np.zeros(vocabulary.size, np.float32)
        logits[token] = 9
        assert sampler.sample(logits) == token
    sampler.close()


def test_a_document_may_hold_every_character(vocabulary: Vocabulary) -> None:
    """Characters that are several tokens are no obstacle to a grammar."""
    text = json.dumps({"name": "李明 👩‍👩‍👧 é"}, ensure_ascii=False)
    sampler = _sampler(vocabulary, json_schema="{}")

    for token in vocabulary.tokenize(text, is_template=False):
        logits = np.zeros(vocabulary.size, np.float32)
        logits[token] = 9
        assert sampler.sample(logits) == token
    sampler.close()
