"""Replies from a model: sampling with a KV cache."""
