"""Loads, sides and measurements of `benchmarks/inference.py`."""
