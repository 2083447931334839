"""What reading a body costs."""

import json
from functools import partial

import orjson
import pytest

from hub.api.body import NotStrict, strict_json
from tests.cost import times_as_long


def test_reading_a_body_never_holds_the_others_up_for_long() -> None:
    """A body of a million bytes made of many values is refused before it is parsed; commas in a prompt are text."""
    pieces = [b"1,", b"1.5,", b'{"a":1},', b"[],", b'"",']

    def refuse(body: bytes) -> None:
        with pytest.raises(NotStrict):
            strict_json(body)

    for piece in pieces:
        body = b"[" + piece * (1_000_000 // len(piece)) + b"1]"
        assert times_as_long(partial(refuse, body), partial(json.loads, body)) < 0.5, piece
    assert strict_json(orjson.dumps({"prompt": "," * 8000})) == {"prompt": "," * 8000}
