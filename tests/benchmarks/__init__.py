"""Benchmarks: `load.py` and `passing.py` are run as scripts."""
