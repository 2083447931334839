"""llama.cpp itself, loaded once and in the way a server needs it; every module of this package imports it from here."""

import ctypes
import os
from typing import Any

import structlog

# libgomp reads this once, when llama.cpp loads it. By default its threads spin while they wait for each other:
# where anything else runs on the same cores, that makes every token ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import llama_cpp

log = structlog.get_logger(__name__)

_LOG_ERROR = 3


def _forward_log(level: int, text: bytes, _: Any) -> None:
    # llama.cpp writes its progress to stderr unless somebody takes it; only its errors are worth a line.
    if level == _LOG_ERROR:
        log.warning("llama_complained", detail=text.decode("utf-8", "replace").strip()[:300])


# ctypes does not keep the callback alive: the module does.
_LOG_CALLBACK = llama_cpp.llama_log_callback(_forward_log)


def start_library() -> None:
    """Make llama.cpp ready; to be called before a model is loaded, as often as anybody likes."""
    llama_cpp.llama_log_set(_LOG_CALLBACK, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
