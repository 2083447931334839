"""What reading a body costs."""

import time

import orjson
import pytest

from hub.api.body import NotStrict, strict_json


def test_reading_a_body_never_holds_the_others_up_for_long() -> None:
    """Whatever a body of a million bytes is made of, it costs less than 200 ms; commas in a prompt are text."""
    pieces = [b"1,", b"1.5,", b'{"a":1},', b"[],", b'"",']

    for piece in pieces:
        began = time.process_time()
        with pytest.raises(NotStrict):
            strict_json(b"[" + piece * (1_000_000 // len(piece)) + b"1]")
        assert time.process_time() - began < 0.2, piece
    assert strict_json(orjson.dumps({"prompt": "," * 8000})) == {"prompt": "," * 8000}
