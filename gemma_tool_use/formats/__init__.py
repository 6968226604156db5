"""Text to conversation and back: dialects, tokenizers, token and loss-mask encoding. No JAX."""
