"""A server for commands that talk to one."""

import io
import os
from collections.abc import Iterator

import pytest
import structlog

from tests.hub.api.conftest import api

__all__ = ["api"]


@pytest.fixture(autouse=True)
def _process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # A command belongs to a process of its own, and changes what is this one's: its logs would go on to the output of
    # a test that is over.
    monkeypatch.setattr("hub.cli.options.configure_logs", lambda _: None)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(io.StringIO()))
    mask = os.umask(0)
    os.umask(mask)
    yield
    os.umask(mask)
    structlog.reset_defaults()
