"""Libraries that are preloaded into other processes, compiled when a test needs them."""

import subprocess
from pathlib import Path


def compiled(name: str, folder: Path) -> Path:
    """Compile `name`.c beside this file; returns the library's path."""
    source, library = Path(__file__).with_name(f"{name}.c"), folder / f"{name}.so"
    command = ("cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(source), "-ldl")
    subprocess.run(command, check=True)
    return library
