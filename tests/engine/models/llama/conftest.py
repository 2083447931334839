"""The bundled model's vocabulary, without its weights."""

import pytest

from engine.models.llama.files import bundled_file
from engine.models.llama.tokenizer import open_vocabulary
from engine.models.llama.vocabulary import Vocabulary


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    """Return the bundled model's vocabulary."""
    return open_vocabulary(bundled_file())
