"""Parts of `benchmarks.retrieval`."""
