"""Tokenised rows on disk, kept by content, so that the second run on the same rows starts at once. No JAX."""
