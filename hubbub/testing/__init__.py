"""The contract of connectors as tests: subclass them in a test file, for a connector of any package.

They need pytest and pytest-asyncio; docs/connectors.md shows a complete example.
"""

import pytest

# Failures then say what was compared.
pytest.register_assert_rewrite("hubbub.testing.contract")

from hubbub.testing.channel import Channel, Inbound, Recorded  # noqa: E402
from hubbub.testing.contract import ConnectorContract, FarEndContract, ReaderContract  # noqa: E402
from hubbub.testing.store import MemoryStore  # noqa: E402

__all__ = [
    "Channel",
    "ConnectorContract",
    "FarEndContract",
    "Inbound",
    "MemoryStore",
    "ReaderContract",
    "Recorded",
]
