"""A server for commands that talk to one."""

from tests.hub.api.conftest import api

__all__ = ["api"]
