"""The parsing process: mails in on stdin, JSON out on stdout, with hard limits on memory, time and files.

Run as `python -m connectors.email.parse`. Each request is two frames, job and mail; each answer is one frame,
`{"mail": ...}` or `{"error": ...}`. A frame is four bytes of length, big endian, and that many bytes.
"""

import json
import os
import resource
import struct
import sys
from typing import BinaryIO

from connectors.email import reading
from connectors.email.mail import ParseJob

MEMORY_BYTES = 536_870_912
CPU_S = 30


def main() -> None:
    """Answer requests until stdin ends or a mail has shaken the process."""
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Whatever a library prints must not end up between the frames.
    os.dup2(2, 1)
    _limit_process()
    healthy = True
    while healthy and (job := _read_frame(source)) is not None and (raw := _read_frame(source)) is not None:
        _grant_cpu_time()
        answer, healthy = _answer(raw, ParseJob.model_validate_json(job))
        sink.write(struct.pack(">I", len(answer)) + answer)
        sink.flush()


def _answer(raw: bytes, job: ParseJob) -> tuple[bytes, bool]:
    try:
        return json.dumps({"mail": reading.read(raw, job)}).encode(), True
    except reading.UnreadableMailError as error:
        return json.dumps({"error": str(error)}).encode(), True
    except Exception as error:
        return json.dumps({"error": f"parsing failed: {type(error).__name__}"}).encode(), False


def _limit_process() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _grant_cpu_time() -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (used + CPU_S, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _read_frame(source: BinaryIO) -> bytes | None:
    head = source.read(4)
    if len(head) < 4:
        return None
    (size,) = struct.unpack(">I", head)
    data = source.read(size)
    return data if len(data) == size else None


if __name__ == "__main__":
    main()
