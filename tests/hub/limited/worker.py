"""A process of the kind under test: does what its request says."""

import os
import sys
import time
from typing import Any

from hub.errors import HubError
from hub.limited.worker import Limits, serve

MEMORY_BYTES = 256 * 2**20
_answered: list[bytes] = []


def do(order: bytes) -> dict[str, Any]:
    """Obey one word."""
    word = order.decode()
    if found := _take_too_much(word):
        return found
    match word:
        case "print":
            sys.stdout.write("what a library has to say\n")
            sys.stdout.flush()
        case "once":
            # What others have left behind: it dies in a process that has answered before.
            if _answered:
                os._exit(1)
        case "refuse":
            raise HubError("not this one")
        case "fail":
            raise ValueError("a secret of the request")
        case "environment":
            return {"names": sorted(os.environ)}
    _answered.append(order)
    return {"said": word}


def _take_too_much(word: str) -> dict[str, Any]:
    match word:
        case "sleep":
            time.sleep(60)
        case "spin":
            while True:
                pass
        case "grow":
            return {"size": len(bytearray(2 * MEMORY_BYTES))}
        case "large":
            return {"text": "x" * 100_000}
    return {}


if __name__ == "__main__":
    serve(do, frames=1, limits=Limits(memory_bytes=MEMORY_BYTES, cpu_s=1))
