"""Rows to conversations to batches: sources, filters, synthesis and the Grain pipeline."""
