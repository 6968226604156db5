"""LoRA fine-tuning: configuration, loss, optimizer, the trainer and the run folder."""
