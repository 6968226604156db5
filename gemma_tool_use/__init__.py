"""Teach Gemma 3 270M, and its larger sisters, to call tools."""

__version__ = "0.1.0"
