"""Models of GGUF files, run in batches by llama.cpp."""

import os

THREAD_VARIABLES = {"GOMP_SPINCOUNT": "20000"}
"""How the threads of llama.cpp wait for each other between two operations: so many looks, about a millisecond, and only then do
they sleep. Sleeping at once costs a third of the speed where the cores are free; looking for as long as libgomp does
by itself makes every token ten times slower where anything else runs on them."""

# libgomp reads this once, when llama.cpp loads it, so it stands before any module of this package does so.
for _name, _value in THREAD_VARIABLES.items():
    os.environ.setdefault(_name, _value)
