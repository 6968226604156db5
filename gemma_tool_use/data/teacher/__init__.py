"""Rows written by a teacher: a large model behind any OpenAI-compatible endpoint. No JAX."""
