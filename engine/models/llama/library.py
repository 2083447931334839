"""llama.cpp itself: its functions as they are in C, made ready before a model is loaded."""

import ctypes
import importlib.util
import sys
from typing import Any

import structlog

log = structlog.get_logger(__name__)

_LOG_ERROR = 4


def _functions() -> Any:
    """Import the functions without the classes that llama-cpp-python has on top of them.

    Those bring a template engine, a disk cache and a database: 10 MiB in every process of a model.
    """
    name = "llama_cpp"
    is_loaded = name in sys.modules
    if not is_loaded:
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise ImportError(f"{name} is not installed", name=name)
        sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        return importlib.import_module(f"{name}.llama_cpp")
    finally:
        if not is_loaded:
            # Whoever imports the package later gets it whole.
            del sys.modules[name]


llama_cpp = _functions()


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
