"""Freed memory that stays with the process."""

import subprocess
import sys
from pathlib import Path

import pytest

LOOP = """
import ctypes, resource, sys
sys.path.insert(0, "scripts")
from headstability.storage.machine import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    block = libc.malloc(64 * 2**20)
    ctypes.memset(block, 1, 64 * 2**20)
    libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    """Pages that a process had to have mapped to use one large block again and again."""
    command = [sys.executable, "-c", LOOP, how]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator only")
def test_a_block_is_mapped_once():
    assert 5 * faults("kept") < faults("by default")
