"""The heads of frames, followed however they are cut."""

import random
import struct

import pytest
from aiohttp import WSCloseCode

from connectors.web.guard import MAX_FRAGMENTS, FrameGuard


class Parser:
    """Takes what the guard lets through."""

    def __init__(self) -> None:
        self.taken = b""
        self.failure: BaseException | None = None

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take data."""
        self.taken += data
        return False, b""

    def feed_eof(self) -> None:
        """Take the end."""

    def set_exception(self, failure: BaseException) -> None:
        """Take what went wrong."""
        self.failure = failure


def frame(size: int, *, fin: bool = True, opcode: int = 1, is_masked: bool = True) -> bytes:
    """Return a frame with a payload that looks like heads."""
    head = bytes([(fin << 7) | opcode])
    if size < 126:
        head += bytes([(is_masked << 7) | size])
    elif size < 65_536:
        head += bytes([(is_masked << 7) | 126]) + struct.pack(">H", size)
    else:
        head += bytes([(is_masked << 7) | 127]) + struct.pack(">Q", size)
    return head + (b"\1\2\3\4" if is_masked else b"") + b"\x01\x05" * (size // 2) + b"\x01" * (size % 2)


@pytest.mark.parametrize("seed", range(20))
def test_frames_pass_however_they_are_cut(seed: int) -> None:
    """To the byte, and the one without a mask stops at its beginning."""
    dice = random.Random(seed)
    good = b"".join(frame(dice.choice([0, 1, 125, 126, 127, 5_000, 70_000])) for _ in range(10))
    bad = frame(10, is_masked=False)
    parser = Parser()
    guard = FrameGuard(parser, parser)

    data = good + bad
    while data:
        size = dice.choice([1, 2, 3, 7, 1_000, 100_000])
        guard.feed_data(data[:size])
        data = data[size:]

    assert parser.taken.startswith(good)
    assert len(parser.taken) <= len(good) + 1  # the first byte of a head may have come alone
    assert getattr(parser.failure, "code", None) == WSCloseCode.PROTOCOL_ERROR


def test_message_comes_in_so_many_frames() -> None:
    """Control frames between them count for themselves, a new message begins anew."""
    fragments = frame(1, fin=False) + (frame(1, fin=False, opcode=0) + frame(0, opcode=9)) * (
        MAX_FRAGMENTS - 1
    )
    parser = Parser()
    guard = FrameGuard(parser, parser)
    for _ in range(3):
        guard.feed_data(fragments + frame(1, opcode=0))
    assert parser.failure is None

    done, _ = guard.feed_data(fragments + frame(1, fin=False, opcode=0))

    assert done
    assert getattr(parser.failure, "code", None) == WSCloseCode.POLICY_VIOLATION
    assert guard.feed_data(b"more") == (True, b"")
