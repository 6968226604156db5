import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from gemma_tool_use.heap import keep_freed_memory

kept = sys.argv[1] == "keep" and keep_freed_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(2**27, np.uint8)
before = faults()
for _ in range(4):
    np.ones(2**27, np.uint8)
print(int(kept), faults() - before)
"""


def page_faults(mode: str) -> tuple[bool, int]:
    """Whether the library took the settings, and the page faults of asking four times for 128 MB that were free."""
    answer = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True)
    kept, faults = map(int, answer.stdout.split())
    return bool(kept), faults


def test_memory_that_was_freed_is_used_again_without_a_page_fault():
    kept, faults = page_faults("keep")
    if not kept:
        pytest.skip("the C library is not glibc, whose mallopt is what is tested")
    assert faults < 100
    assert page_faults("default")[1] > 100 * 4


GIVEN_BACK = """
import resource, sys
import numpy as np
import psutil
from gemma_tool_use.heap import give_back, keep_freed_memory

keep_freed_memory()
below, between = np.ones(2**28, np.uint8), np.ones(1000)
after = np.ones(1000)
del below
rss = lambda: psutil.Process().memory_info().rss
before = rss()
give_back()
print(before - rss())
"""


def test_free_memory_can_be_given_back():
    if not page_faults("keep")[0]:
        pytest.skip("the C library is not glibc, whose malloc_trim is what is tested")
    answer = subprocess.run([sys.executable, "-c", GIVEN_BACK], capture_output=True, text=True, check=True)
    assert int(answer.stdout) > 2**27
