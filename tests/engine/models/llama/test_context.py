"""The raw context: what copies, saved states and unfinished steps leave behind."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.models.llama.batch import Batch
from engine.models.llama.context import ABORTED, DONE, REFUSED, ContextSettings, LlamaContext
from engine.models.llama.vocabulary import Tokens
from engine.models.llama.weights import LlamaWeights
from hub.model_settings import GgufSettings

BATCH_TOKENS = 256
TEXT = "The quick brown fox jumps over the lazy dog, and the dog sleeps on. " * 3


@pytest.fixture(scope="module")
def weights() -> Iterator[LlamaWeights]:
    """Return the bundled model without any context."""
    weights = LlamaWeights.open(GgufSettings())
    yield weights
    weights.release()


@pytest.fixture(params=["f16", "q8_0"])
def context(request: pytest.FixtureRequest, weights: LlamaWeights) -> Iterator[LlamaContext]:
    """Return a context of four sequences."""
    settings = ContextSettings(
        context_length=512,
        parallel=4,
        batch_tokens=BATCH_TOKENS,
        output_rows=8,
        threads=1,
        kv_type=request.param,
    )
    context = LlamaContext(weights, settings)
    yield context
    context.close()


def _last_row(context: LlamaContext, sequence: int, tokens: Tokens, start: int = 0) -> NDArray[np.float32]:
    batch = Batch(BATCH_TOKENS)
    batch.add(sequence, start, tokens, outputs=1)
    assert context.decode(batch) == DONE
    row: NDArray[np.float32] = context.logits(1)[0]
    return row.copy()


def _alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Whether two rows say the same but for rounding, which depends on what else is in a batch."""
    return bool(np.corrcoef(one, other)[0, 1] > 0.999)


def test_a_copy_goes_on_like_the_original(context: LlamaContext, weights: LlamaWeights) -> None:
    """The beginning of one sequence serves another, while the first goes on."""
    tokens = weights.vocabulary.tokenize(TEXT, is_template=False)
    half = len(tokens) // 2
    whole = _last_row(context, 0, tokens)

    context.copy(0, 2, half)
    row = _last_row(context, 2, tokens[half:], half)

    assert _alike(row, whole)
    assert not context.copies


def test_a_saved_sequence_goes_on_in_another_place(context: LlamaContext, weights: LlamaWeights) -> None:
    """Also after the first one was emptied and used for something else."""
    tokens = weights.vocabulary.tokenize(TEXT, is_template=False)
    whole = _last_row(context, 0, tokens)
    data = context.save(0)
    assert data is not None
    context.cut(0, 0)
    _last_row(context, 0, tokens[::-1].copy())

    assert context.restore(3, data)
    context.cut(3, len(tokens) - 1)
    row = _last_row(context, 3, tokens[-1:], len(tokens) - 1)

    assert _alike(row, whole)


def test_half_a_state_is_refused_and_leaves_nothing(context: LlamaContext, weights: LlamaWeights) -> None:
    """The sequence can be used from its beginning."""
    tokens = weights.vocabulary.tokenize(TEXT, is_template=False)
    whole = _last_row(context, 0, tokens)
    data = context.save(0)
    assert data is not None

    assert not context.restore(1, data[: len(data) // 2].copy())
    assert _alike(_last_row(context, 1, tokens), whole)


def test_a_gap_in_a_sequence_is_refused(context: LlamaContext) -> None:
    """And nothing is changed by it."""
    tokens = np.array([1, 2, 3], np.int32)
    _last_row(context, 0, tokens)
    batch = Batch(BATCH_TOKENS)
    batch.add(0, 7, tokens, outputs=1)

    assert context.decode(batch) == REFUSED


def test_a_copy_is_waited_for_before_anything_is_saved(context: LlamaContext, weights: LlamaWeights) -> None:
    """Both ends of it are named until the next step."""
    tokens = weights.vocabulary.tokenize(TEXT, is_template=False)
    _last_row(context, 0, tokens)

    context.copy(0, 1, 8)

    assert [context.is_moving(sequence) for sequence in range(4)] == [True, True, False, False]
    _last_row(context, 2, tokens)
    assert not any(context.is_moving(sequence) for sequence in range(4))


def test_a_step_is_aborted_from_another_thread(context: LlamaContext, weights: LlamaWeights) -> None:
    """Once it is allowed again it gives what it would have given."""
    tokens = weights.vocabulary.tokenize(TEXT, is_template=False)
    batch = Batch(BATCH_TOKENS)
    batch.add(0, 0, tokens, outputs=1)
    aborter = threading.Thread(target=context.abort)
    aborter.start()
    aborter.join()

    assert context.decode(batch) == ABORTED

    context.allow()
    context.cut(0, 0)
    assert context.decode(batch) == DONE


def test_a_full_batch_takes_no_more() -> None:
    """llama.cpp would end the process."""
    batch = Batch(4)
    batch.add(0, 0, np.zeros(3, np.int32), outputs=1)

    with pytest.raises(AssertionError):
        batch.add(1, 0, np.zeros(2, np.int32), outputs=0)
