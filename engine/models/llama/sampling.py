"""Chooses the next token of one answer from a row of logits."""

import math
import random
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.models.base import GenerateOptions
from engine.models.llama.grammar import Grammar
from engine.models.llama.json_schema import grammar_of
from engine.models.llama.vocabulary import Vocabulary
from hub.errors import ModelError, OptionRefused

Logits = NDArray[np.float32]
Ids = NDArray[np.integer[Any]]

_PENALISED_TOKENS = 64
_LEAST_TEMPERATURE = 1e-6
_BLOCK = 64
"""Logits looked at together when the highest are searched."""
_FIRST_LOOK = 256
"""Candidates that are tried before all tokens are."""


class Sampler:
    """The state of one answer: chance, grammar and what was said last; belongs to one thread."""

    def __init__(self, vocabulary: Vocabulary, options: GenerateOptions, grammar: Grammar | None) -> None:
        self._vocabulary = vocabulary
        self._options = options
        self._grammar = grammar
        self._chance = random.Random(options.seed)  # noqa: S311 - a seed is asked for
        self._recent: deque[int] = deque(maxlen=_PENALISED_TOKENS)
        self._biased = np.array([token for token, _ in options.logit_bias], np.int64)
        self._bias = np.array([bias for _, bias in options.logit_bias], np.float32)

    @classmethod
    def create(cls, vocabulary: Vocabulary, options: GenerateOptions) -> "Sampler | None":
        """Return the sampler that the options ask for; None when the likeliest token is always taken.

        Raises: OptionRefused: an option is out of its range, or grammar or schema cannot be used.
        """
        _check(options, vocabulary.size)
        text = grammar_of(options.json_schema) if options.json_schema else options.grammar
        is_plain = options.temperature == 0 and options.repeat_penalty == 1 and not options.logit_bias
        if is_plain and not text:
            return None
        return cls(vocabulary, options, Grammar(vocabulary, text) if text else None)

    def sample(self, logits: Logits) -> int:
        """Choose a token and remember it.

        Args:
            logits: float32, shape (n_vocab,); may be changed.

        Raises: ModelError: the logits are not numbers.
        """
        self._adjust(logits)
        token = self._choose(logits)
        if self._grammar is not None and not self._grammar.allows(np.array([token]))[0]:
            token = self._choose_allowed(logits, self._grammar)
        if self._grammar is not None and token not in self._vocabulary.end_tokens:
            self._grammar.accept(token)
        self._recent.append(token)
        return token

    def close(self) -> None:
        """Free what llama.cpp holds."""
        if self._grammar is not None:
            self._grammar.close()

    def _adjust(self, logits: Logits) -> None:
        if len(self._biased):
            np.add.at(logits, self._biased, self._bias)
        if self._options.repeat_penalty != 1 and self._recent:
            # As in llama.cpp: a logit below 0 is multiplied, so that it moves down as well.
            said = np.unique(np.fromiter(self._recent, np.int64))
            values = logits[said]
            penalty = np.float32(self._options.repeat_penalty)
            logits[said] = np.where(values > 0, values / penalty, values * penalty)
        if self._grammar is not None:
            logits[self._vocabulary.silent_tokens] = -np.inf

    def _choose(self, logits: Logits) -> int:
        options = self._options
        if options.temperature == 0:
            return int(logits.argmax())
        if options.top_k:
            ids: Ids = top(logits, options.top_k)
        elif options.top_p < 1:
            ids = _nucleus(logits, options.top_p)
        else:
            ids = np.arange(len(logits))
        return self._draw(ids, logits[ids])

    def _choose_allowed(self, logits: Logits, grammar: Grammar) -> int:
        """Choose among what the grammar allows, the likeliest candidates first."""
        for count in (_FIRST_LOOK, len(logits)):
            ids = top(logits, count)
            allowed = ids[grammar.allows(ids)]
            if len(allowed):
                if self._options.temperature == 0:
                    return int(allowed[0])
                kept = allowed[: self._options.top_k or None]
                return self._draw(kept, logits[kept])
        # No token can spell what the grammar wants next: the answer ends here.
        return min(self._vocabulary.end_tokens)

    def _draw(self, ids: Ids, logits: Logits) -> int:
        """Draw one of the candidates, after top-p, min-p and temperature."""
        values = logits.astype(np.float64)
        highest = values.max()
        if not math.isfinite(highest):
            raise ModelError("the model gave logits that are not numbers")
        values -= highest
        is_kept = _kept(np.exp(values), self._options)
        ids, values = ids[is_kept], values[is_kept]
        sums = np.cumsum(np.exp(values / max(self._options.temperature, _LEAST_TEMPERATURE)))
        # Rounding may reach the sum, and behind it there is no token.
        mark = min(self._chance.random() * sums[-1], np.nextafter(sums[-1], 0))
        return int(ids[np.searchsorted(sums, mark, side="right")])


def top(logits: Logits, count: int) -> Ids:
    """Return the ids of the highest logits, highest first, of equals the lower id first.

    A third of the time of `argpartition` for 40 of 49,152: the count-th highest of the blocks' maxima is a bound
    that at least `count` logits reach, and few more do.
    """
    blocks = len(logits) // _BLOCK
    ids: Ids = np.arange(len(logits))
    if count < blocks:
        maxima = logits[: blocks * _BLOCK].reshape(blocks, _BLOCK).max(axis=1)
        bound = np.partition(maxima, blocks - count)[blocks - count]
        ids = np.flatnonzero(logits >= bound)
    return ids[np.argsort(-logits[ids], kind="stable")][:count]


def _nucleus(logits: Logits, top_p: float) -> Ids:
    """Return the fewest of the likeliest tokens that together have the probability `top_p`."""
    highest = float(logits.max())
    total = float(np.exp(logits - highest, dtype=np.float64).sum())
    count = _FIRST_LOOK
    while True:
        ids = top(logits, count)
        sums = np.cumsum(np.exp(logits[ids] - highest, dtype=np.float64)) / total
        if sums[-1] >= top_p or count >= len(logits):
            return ids[: int(np.searchsorted(sums, top_p)) + 1]
        count *= 8


def _kept(weights: NDArray[np.float64], options: GenerateOptions) -> NDArray[np.bool_]:
    """Tell which candidates top-p and min-p leave; weights are relative to the likeliest, which always stays."""
    is_kept = weights >= options.min_p
    if options.top_p < 1 and options.top_k:
        before = np.cumsum(weights) - weights
        is_kept &= before < options.top_p * weights.sum()
    is_kept[int(weights.argmax())] = True
    return is_kept


def _check(options: GenerateOptions, size: int) -> None:
    """Refuse what is out of range; a comparison with NaN is false."""
    in_range = {
        "temperature": 0 <= options.temperature < math.inf,
        "top_p": 0 <= options.top_p <= 1,
        "min_p": 0 <= options.min_p <= 1,
        "top_k": options.top_k >= 0,
        "repeat_penalty": 0 < options.repeat_penalty < math.inf,
        "logit_bias": all(0 <= token < size and math.isfinite(bias) for token, bias in options.logit_bias),
    }
    for name, is_right in in_range.items():
        if not is_right:
            raise OptionRefused(f"{name} is out of its range")
    if options.grammar and options.json_schema:
        raise OptionRefused("an answer can keep to a grammar or to a JSON Schema, not to both")
