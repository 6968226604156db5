"""HTML pages that hold everything they show: one skeleton, one style, tables and plots. No JAX."""
