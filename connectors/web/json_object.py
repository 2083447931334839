"""JSON objects from browsers and from sites."""

import json
from typing import Any

from hub.json_depth import is_deeper_than

MAX_DEPTH = 16
"""Nothing they say lies deeper."""


def read_object(content: str | bytes) -> dict[str, Any] | None:
    """Read one; None is told for anything else, and for what is nested deeper than `MAX_DEPTH`."""
    try:
        text = content if isinstance(content, str) else content.decode()
        value = None if is_deeper_than(MAX_DEPTH, text) else json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
