"""The comparisons that `scripts/benchmark.py` runs: one module a subject, each row in a process of its own."""
