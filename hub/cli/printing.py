"""What commands print for machines: JSON alone on standard output."""

import sys
from typing import Any

import orjson


def print_json(value: Any) -> None:
    """Print a document on a line of its own, at once: whoever reads line by line need not wait."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode() + "\n")
    sys.stdout.flush()
