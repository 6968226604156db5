"""The contender `ours` of `train_throughput.py`: that of `throughput_jax.py`, begun like `gemma-tool-use train`.

python benchmarks/throughput_ours.py ours_float32 FOLDER
"""

import sys

from gemma_tool_use.heap import keep_freed_memory

if __name__ == "__main__":
    keep_freed_memory()  # before JAX starts threads, which would keep heaps of their own
    import throughput_jax

    sys.exit(throughput_jax.main())
