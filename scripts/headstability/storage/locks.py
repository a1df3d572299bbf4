"""Locks that a killed process gives up by dying, and noticing that Snakemake itself was killed."""

import atexit
import errno
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from ..errors import UserError

# Every Snakemake that works in this folder keeps a file there, and its lock.
RUNNING = Path(".snakemake", "headstability.runs")
# Jobs inherit the number of the Snakemake process that starts them (on a cluster, of the one that
# Slurm started on the same node). The parent process does not tell: it may have been killed.
STARTED_BY = "HEADSTABILITY_STARTED_BY"
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}  # of file systems
# Locks held until this process ends: one that nothing refers to is given up.
_held_to_the_end: list[FileLock] = []


def take_lock(path: Path, patience: float = -1.0) -> FileLock:
    """Take the lock of a file, which is created if need be; not held on systems without locks.

    A Timeout says that it is still held elsewhere after `patience` seconds (negative: no limit).
    """
    lock = FileLock(path, timeout=patience, poll_interval=0.1, fallback_to_soft=False)
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return lock


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file during a block, once no other process does."""
    lock = take_lock(path)
    try:
        yield
    finally:
        lock.release()


def hold_lock(path: Path) -> None:
    """Take the lock of a file at once, as `take_lock` does; it is held until this process ends."""
    _held_to_the_end.append(take_lock(path, patience=0))


def remove_abandoned(path: Path) -> None:
    """Remove a file whose lock no living process holds."""

    def remove(handle: int) -> None:
        # Its former holder may have renamed it just now and created another one of this name.
        if os.path.samestat(os.fstat(handle), path.stat()):
            path.unlink()

    with suppress(OSError), FileLock(path, blocking=False, on_acquired=remove):
        pass


def _is_held(path: Path) -> bool | None:
    """Whether a living process holds the lock of a file; None if that cannot be told."""
    if not path.exists():
        return False
    try:
        with FileLock(path, blocking=False, fallback_to_soft=False):
            return False
    except Timeout:
        return True
    except OSError:
        return None


def resume_folder(file_of_cell: str | Path) -> Path:
    """The hidden folder for the state of an unfinished cell, by a path directly in its folder."""
    return Path(file_of_cell).parent / ".resume"


def forget_finished(provenances: Iterable[str | Path]) -> None:
    """Remove the states of cells whose provenance exists, once Snakemake has recorded them."""
    for path in provenances:
        if Path(path).exists():
            shutil.rmtree(resume_folder(path), ignore_errors=True)


def mark_running() -> None:
    """Say for as long as this process lives that a run is going on in this folder."""
    os.environ[STARTED_BY] = str(os.getpid())
    with suppress(OSError):  # a folder that cannot be written to
        RUNNING.mkdir(parents=True, exist_ok=True)
        for path in RUNNING.iterdir():
            remove_abandoned(path)
        mark = RUNNING.absolute() / f"{os.uname().nodename}-{os.getpid()}"
        atexit.register(mark.unlink, missing_ok=True)
        hold_lock(mark)


def is_running() -> bool:
    """Whether a process that called `mark_running` in this folder is alive (True if unknown)."""
    return RUNNING.exists() and any(_is_held(mark) is not False for mark in RUNNING.iterdir())


@dataclass(frozen=True)
class Run:
    """The run of a study that is going on, or the last one."""

    started: float  # seconds since the epoch
    here: bool  # whether it was started on this machine
    # Whether its lock is held; None without locks. Not every lock reaches other machines.
    held: bool | None

    @property
    def told_by_lock(self) -> bool:
        """Whether its lock tells if it is going on."""
        return bool(self.held) or (self.here and self.held is not None)


def _run_record(study: str) -> Path:
    return RUNNING.with_name(f"headstability.{study}.run")


def begin_run(study: str) -> None:
    """Record that this process, which has called `mark_running`, is the last run of a study."""
    with suppress(OSError):  # as in mark_running
        _run_record(study).write_text(f"{os.uname().nodename}-{os.getpid()}\n", encoding="utf-8")


def last_run(study: str) -> Run | None:
    """What is known of the last run of a study in this folder; None if there was none."""
    path = _run_record(study)
    try:
        started = path.stat().st_mtime
        mark = path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    here = mark.rpartition("-")[0] == os.uname().nodename
    return Run(started, here, _is_held(RUNNING / mark))


def exclusive_lock(path: Path, what: str, patience: float = 30.0) -> FileLock:
    """Take the lock of a file as the only process at work on `what`, or raise a UserError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return take_lock(path, patience)
    except Timeout:
        raise UserError(
            f"{what}: another process is at work on it, perhaps left by a killed run. Wait for "
            f"it or end it (fuser {path} names it), then run the same command again"
        ) from None


def end_with_snakemake(interval: float = 1.0) -> None:
    """Send SIGTERM to this process once the Snakemake that started it is gone.

    Jobs whose Snakemake got SIGKILL would work on unseen, beside those of the next run.
    """
    started_by = os.environ.get(STARTED_BY)
    if started_by is None:
        return

    def watch() -> None:
        with suppress(psutil.NoSuchProcess):  # killed while this process was starting
            run = psutil.Process(int(started_by))
            while run.is_running() and run.status() != psutil.STATUS_ZOMBIE:
                time.sleep(interval)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
