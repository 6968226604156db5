"""Scores of replies against what was expected."""
