"""The far end: requests in on stdin, JSON out on stdout.

A request is some frames, an answer one frame: four bytes of length, big endian, and that many bytes.
"""

import os
import resource
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import orjson

from hub.egress.guard import install
from hub.errors import HubError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the work may take."""

    memory_bytes: int = 512 * 2**20
    cpu_s: int = 30
    """For one request."""


def serve(answer: Callable[..., dict[str, Any]], *, frames: int, limits: Limits) -> None:
    """Answer requests until stdin ends or one has shaken the process.

    Args:
        answer: takes the frames of a request; a HubError it raises is the answer, anything else also ends the process.
        frames: of one request.
        limits: are set for the whole process, before anything is read.
    """
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Whatever a library prints must not end up between the frames.
    os.dup2(2, 1)
    _limit_process(limits)
    install((), process="limited")
    is_healthy = True
    while is_healthy and (request := _read_request(source, frames)) is not None:
        _grant_cpu_time(limits.cpu_s)
        said, is_healthy = _answer(answer, request)
        sink.write(struct.pack(">I", len(said)) + said)
        sink.flush()


def _answer(answer: Callable[..., dict[str, Any]], request: Sequence[bytes]) -> tuple[bytes, bool]:
    try:
        return orjson.dumps(answer(*request)), True
    except HubError as error:
        return orjson.dumps({"error": str(error), "problem": getattr(error, "problem", "")}), True
    except Exception as error:
        answered = {"error": f"it failed: {type(error).__name__}", "problem": "damaged", "failed": True}
        return orjson.dumps(answered), False


def _limit_process(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _grant_cpu_time(seconds: int) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (used + seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _read_request(source: BinaryIO, frames: int) -> list[bytes] | None:
    request = []
    for _ in range(frames):
        if (frame := _read_frame(source)) is None:
            return None
        request.append(frame)
    return request


def _read_frame(source: BinaryIO) -> bytes | None:
    head = source.read(4)
    if len(head) < 4:
        return None
    (size,) = struct.unpack(">I", head)
    data = source.read(size)
    return data if len(data) == size else None
