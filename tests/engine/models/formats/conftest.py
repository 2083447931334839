"""Small models in folders."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.models.transformers_model import TransformersChatModel
from tests.engine.models.formats.small import load, write_llama


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, converted: Path) -> Path:
    """A folder with a Llama of random weights; not to be changed."""
    return write_llama(tmp_path_factory.mktemp("tiny"), converted / "safetensors")


@pytest.fixture
async def model(tiny: Path) -> AsyncIterator[TransformersChatModel]:
    """That model, loaded."""
    loaded = await load(tiny)
    yield loaded
    await loaded.close()
