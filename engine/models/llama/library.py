"""llama.cpp itself, made ready before a model is loaded."""

import ctypes
from typing import Any

import llama_cpp
import structlog

log = structlog.get_logger(__name__)

_LOG_ERROR = 4


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
