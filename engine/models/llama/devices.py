"""The GPUs that llama.cpp finds, and how much of their memory is free.

llama-cpp-python does not declare the functions, which are those of ggml. Source: `ggml-backend.h` of llama.cpp.
"""

import ctypes
from typing import Any

from engine.models.llama.library import llama_cpp

CPU, GPU = 0, 1
"""Kinds of devices; a GPU is one with memory of its own."""


def free_device_bytes(kind: int = GPU) -> int:
    """Tell how much memory the devices of a kind have free, together; 0 where there is none, or the library cannot say."""
    # All that it is linked with can be called by it.
    library = llama_cpp._lib
    try:
        count = _declared(library.ggml_backend_dev_count, ctypes.c_size_t)
        get = _declared(library.ggml_backend_dev_get, ctypes.c_void_p, ctypes.c_size_t)
        kind_of = _declared(library.ggml_backend_dev_type, ctypes.c_int, ctypes.c_void_p)
        sizes = (ctypes.POINTER(ctypes.c_size_t),) * 2
        memory = _declared(library.ggml_backend_dev_memory, None, ctypes.c_void_p, *sizes)
    except AttributeError:
        return 0
    found = 0
    for number in range(count()):
        device, free, total = get(number), ctypes.c_size_t(), ctypes.c_size_t()
        if kind_of(device) == kind:
            memory(device, free, total)
            found += free.value
    return found


def _declared(function: Any, result: Any, *arguments: Any) -> Any:
    function.restype, function.argtypes = result, arguments
    return function
