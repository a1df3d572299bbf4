"""What jobs on one node share: a copy of a large file, and its GPUs."""

import ctypes
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from filelock import Timeout

from ..errors import UserError
from .files import atomic_path, sha256_file
from .locks import hold_lock, locked

# A folder on the node's own disk; it may hold variables, such as $TMPDIR.
SCRATCH = "HEADSTABILITY_SCRATCH"
CELLS_PER_GPU = "HEADSTABILITY_CELLS_PER_GPU"  # how many jobs share one


def node_copy(path: str | Path, sha256: str) -> Path:
    """A copy of a file on the node's own disk, if there is one with room; else the file itself."""
    scratch = os.path.expandvars(os.environ.get(SCRATCH, ""))
    if not scratch or "$" in scratch:  # none is set, or not on this node
        return Path(path)
    home = Path(scratch, f"headstability-{os.getuid()}")
    copy = home / f"{sha256}{Path(path).suffix}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with locked(home / f"{sha256}.lock"):
            if not copy.exists() or sha256_file(copy) != sha256:
                with atomic_path(copy) as part:
                    shutil.copyfile(path, part)
        return copy
    except (OSError, UserError) as error:
        print(f"Reading {path} itself: no copy in {scratch} ({error})", flush=True)
        return Path(path)


def take_gpu(patience: float = 30.0) -> str | None:
    """Keep to one of the node's GPUs, the one fewest jobs use, until this process ends.

    Only that GPU is visible then; None if GPUs are not shared here. A UserError says that all
    places are still taken after `patience` seconds.
    """
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    share = int(os.environ.get(CELLS_PER_GPU, "0"))
    if not visible or not share:
        return None
    job = os.environ.get("SLURM_JOB_ID", "local")
    home = Path(tempfile.gettempdir(), f"headstability-gpus-{os.getuid()}-{job}")
    home.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience
    while True:
        for slot in range(share):
            for gpu in visible:
                with suppress(Timeout):  # another job has this place
                    hold_lock(home / f"{gpu.replace('/', '_')}.{slot}")
                    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
                    return gpu
        if time.monotonic() > deadline:
            raise UserError(
                f"all {share} places on each of the GPUs {', '.join(visible)} are taken: another "
                f"run is at work in this allocation. Wait for it, or raise {CELLS_PER_GPU}"
            )
        time.sleep(0.2)


def use_threads(count: int) -> None:
    """Let torch compute with this many threads, in memory that is kept (`keep_freed_memory`)."""
    import torch  # noqa: PLC0415 - slow to import, of no use to most jobs

    torch.set_num_threads(count)
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Keep freed blocks for the next allocation of their size, where the C library is glibc.

    By default it returns large blocks at once, and every training step has them mapped and zeroed
    again: an eighth of its time (docs/benchmarks.md).
    """
    trim_threshold, mmap_max = -1, -4  # from glibc's malloc.h
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)  # the largest int
