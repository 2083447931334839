"""JSON without the freedoms a peer could hide something in: no double names, no endless numbers, no depth."""

import json
import math
from typing import Any

from hub.errors import ConnectorError
from hub.json_depth import is_deeper_than

MAX_DEPTH = 64
MAX_DIGITS = 20
MAX_COMMAS = 50_000
"""Bounds the values of an update before they are made; a long message and all it refers to has a tenth of them."""


class Unreadable(ConnectorError):
    """Bytes or values that can never become a valid update; the text says why."""


def parse(body: bytes) -> dict[str, Any]:
    """Read the JSON of one update strictly.

    Raises: Unreadable: broken, ambiguous, too deep, too large, or not an object.
    """
    if body.count(b",") > MAX_COMMAS:
        raise Unreadable("too many values")
    try:
        text = body.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        raise Unreadable("not UTF-8") from error
    if is_deeper_than(MAX_DEPTH, text):
        raise Unreadable("nested too deeply")
    try:
        data = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        raise Unreadable("not JSON") from error
    if not isinstance(data, dict):
        raise Unreadable("not an object")
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise Unreadable("a name occurs twice in one object")
    return values


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise Unreadable("a number is too long")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise Unreadable("a number is out of range")
    return value


def _constant(name: str) -> float:
    raise Unreadable(f"{name} is not JSON")
