"""Memory that was freed goes back to the system, and not only to the allocator."""

import ctypes
import subprocess
import sys

import pytest

FREE = """
import numpy as np, psutil
from corpus.free_memory import give_back_free_memory

process = psutil.Process()
arrays = [np.ones(8000) for _ in range(2000)]  # 122 MiB, each too small for pages of its own
kept = arrays[::20]  # which lie between those that are freed
del arrays
before = process.memory_info().rss
give_back_free_memory()
print((before - process.memory_info().rss) >> 20)
"""


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library keeps nothing back"
)
def test_what_lies_between_things_in_use_is_given_back() -> None:
    ran = subprocess.run([sys.executable, "-c", FREE], check=True, capture_output=True, text=True)
    assert int(ran.stdout) > 80
