"""What jobs on one node share: a copy of a large file, and its GPUs."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import UserError
from .files import atomic_path, sha256_file

# A folder on the node's own disk; it may hold variables, such as $TMPDIR.
SCRATCH = "HEADSTABILITY_SCRATCH"
# How many jobs share a GPU.
CELLS_PER_GPU = "HEADSTABILITY_CELLS_PER_GPU"


def node_copy(path: str | Path, sha256: str) -> Path:
    """A copy of a file on the node's own disk, made by the first job that needs it there.

    Args:
        path: the file.
        sha256: what its content must hash to; the name of the copy.

    Returns:
        The copy; the file itself where there is no node-local disk, or no room on it.
    """
    scratch = os.path.expandvars(os.environ.get(SCRATCH, ""))
    if not scratch or "$" in scratch:  # none is set, or not on this node
        return Path(path)
    home = Path(scratch, f"headstability-{os.getuid()}")
    copy = home / f"{sha256}{Path(path).suffix}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _alone(home / f"{sha256}.lock"):
            if not copy.exists() or sha256_file(copy) != sha256:
                with atomic_path(copy) as part:
                    shutil.copyfile(path, part)
        return copy
    except (OSError, UserError) as error:
        print(f"Reading {path} itself: no copy in {scratch} ({error})", flush=True)
        return Path(path)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other job of the node is at it."""
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        with suppress(OSError):  # without locks, each job copies for itself
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def take_gpu(patience: float = 30.0) -> str | None:
    """Keep to one of the node's GPUs, the one fewest jobs use, until this process ends.

    Without this, jobs side by side would all use the first GPU they see.

    Args:
        patience: seconds to wait for a job that is about to end.

    Returns:
        The GPU, which is then the only one visible; None if GPUs are not shared here.
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
                if _held(home / f"{gpu.replace('/', '_')}.{slot}"):
                    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
                    return gpu
        if time.monotonic() > deadline:
            raise UserError(
                f"all {share} places on each of the GPUs {', '.join(visible)} are taken: another "
                f"run is at work in this allocation. Wait for it, or raise {CELLS_PER_GPU}"
            )
        time.sleep(0.2)


def _held(path: Path) -> bool:
    """Lock a file until this process ends; False if another process has it."""
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return False
    return True
