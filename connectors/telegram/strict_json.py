"""JSON without the freedoms a peer could hide something in: no double names, no endless numbers, no depth."""

import json
import math
import re
from typing import Any

from hub.errors import ConnectorError

MAX_DEPTH = 64
MAX_DIGITS = 20

# The closing quote is optional, so that a string without an end is gone over only once.
_BRACKETS_OR_STRING = re.compile(rb'[\[{\]}]|"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)


class Unreadable(ConnectorError):
    """Bytes or values that can never become a valid update; the text says why."""


def parse(body: bytes) -> dict[str, Any]:
    """Read the JSON of one update strictly.

    Raises: Unreadable: broken, ambiguous, too deep, or not an object.
    """
    _check_depth(body)
    try:
        data = json.loads(
            body.removeprefix(b"\xef\xbb\xbf").decode(),
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_constant,
        )
    except UnicodeDecodeError as error:
        raise Unreadable("not UTF-8") from error
    except json.JSONDecodeError as error:
        raise Unreadable("not JSON") from error
    if not isinstance(data, dict):
        raise Unreadable("not an object")
    return data


def _check_depth(body: bytes) -> None:
    depth = 0
    for match in _BRACKETS_OR_STRING.finditer(body):
        token = match[0]
        if token in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise Unreadable("nested too deeply")
        elif token in b"]}":
            depth -= 1


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
