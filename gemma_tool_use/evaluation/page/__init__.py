"""The page of one evaluation: what was trained, curves, scores with intervals, failures, answers to read."""
