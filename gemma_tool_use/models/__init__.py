"""Base weights in: checkpoint readers, one name table, LoRA attachment and adapters."""
