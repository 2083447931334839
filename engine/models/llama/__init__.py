"""Models of GGUF files, run in batches by llama.cpp."""

import os

# libgomp reads this once, when llama.cpp loads it, so it stands before any module of this package does so. By default
# its threads spin while they wait for each other: where anything else runs on the same cores, that makes every token
# ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
