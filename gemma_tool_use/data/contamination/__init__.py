"""Benchmark questions are kept out of training data, the same ones and nearly the same ones.

`fingerprints.py` recognises them, `questions.py` reads them from files, `build.py` makes the shipped fingerprints of
BFCL v4. The rule that uses them is `rules/benchmark.py`.
"""
