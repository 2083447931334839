"""A process of the kind under test: does what its request says."""

import os
import sys
import time
from typing import Any

from hub.errors import HubError
from hub.limited.worker import Limits, serve

MEMORY_BYTES = 256 * 2**20


def do(order: bytes) -> dict[str, Any]:
    """Obey one word."""
    match order.decode():
        case "sleep":
            time.sleep(60)
        case "spin":
            while True:
                pass
        case "grow":
            return {"size": len(bytearray(2 * MEMORY_BYTES))}
        case "print":
            sys.stdout.write("what a library has to say\n")
            sys.stdout.flush()
        case "refuse":
            raise HubError("not this one")
        case "fail":
            raise ValueError("a secret of the request")
        case "environment":
            return {"names": sorted(os.environ)}
        case "large":
            return {"text": "x" * 100_000}
    return {"said": order.decode()}


if __name__ == "__main__":
    serve(do, frames=1, limits=Limits(memory_bytes=MEMORY_BYTES, cpu_s=1))
