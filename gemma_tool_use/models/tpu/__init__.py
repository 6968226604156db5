"""Kernels for TPUs (Pallas). Which of them apply where is decided in `models/kernels.py`."""
