"""Locks that a killed process gives up by dying, and noticing that Snakemake itself was killed."""

import fcntl
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from .errors import UserError

RUN_MARK = Path(".snakemake", "headstability.running")
# Jobs inherit the number of the Snakemake process that starts them. Their parents do not tell: a
# job whose Snakemake was killed while it was starting has none of that name.
# On a cluster that is the Snakemake which Slurm started for the job, on the same node.
STARTED_BY = "HEADSTABILITY_STARTED_BY"


def resume_folder(file_of_cell: str | Path) -> Path:
    """The hidden folder in which an unfinished cell keeps its state.

    Args:
        file_of_cell: a file or folder directly in the folder of the cell.
    """
    return Path(file_of_cell).parent / ".resume"


def forget_finished(provenances: Iterable[str | Path]) -> None:
    """Remove the states of finished cells.

    A cell keeps its state until Snakemake has recorded it as finished: a run killed just before
    would otherwise train it again from the beginning.

    Args:
        provenances: where the provenance of each cell is once it has ended.
    """
    for path in provenances:
        if Path(path).exists():
            shutil.rmtree(resume_folder(path), ignore_errors=True)


def mark_running() -> None:
    """Hold a shared lock for as long as this process lives: a run is going on in this folder."""
    os.environ[STARTED_BY] = str(os.getpid())
    with suppress(OSError):  # a file system without locks, or one we may not write to
        RUN_MARK.parent.mkdir(exist_ok=True)
        handle = os.open(RUN_MARK, os.O_CREAT | os.O_RDWR, 0o666)
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)


def is_running() -> bool:
    """Whether a process that called `mark_running` in this folder is alive (True if unknown)."""
    return RUN_MARK.exists() and _is_held(RUN_MARK) is not False


@dataclass(frozen=True)
class Run:
    """The run of a study that is going on, or the last one.

    Attributes:
        started: seconds since the epoch.
        here: whether it was started on this machine.
        held: whether its lock is held; None where there are no locks. Where locks do not reach
            other machines, False says nothing of a run that is not `here`.
    """

    started: float
    here: bool
    held: bool | None

    @property
    def told_by_lock(self) -> bool:
        """Whether its lock tells if it is going on."""
        return bool(self.held) or (self.here and self.held is not None)


def _run_mark(study: str) -> Path:
    return RUN_MARK.with_name(f"headstability.{study}.run")


def begin_run(study: str) -> None:
    """Say for as long as this process lives that a run of a study is going on, and where."""
    with suppress(OSError):  # as in mark_running
        handle = os.open(_run_mark(study), os.O_CREAT | os.O_RDWR, 0o666)
        fcntl.flock(handle, fcntl.LOCK_SH)
        os.truncate(handle, 0)
        os.write(handle, f"{os.uname().nodename}\n".encode())


def last_run(study: str) -> Run | None:
    """What is known of the last run of a study in this folder; None if there was none."""
    path = _run_mark(study)
    try:
        started = path.stat().st_mtime
        here = path.read_text(encoding="utf-8").strip() == os.uname().nodename
    except OSError:
        return None
    return Run(started, here, _is_held(path))


def _is_held(path: Path) -> bool | None:
    """Whether a living process holds a lock of a file; None if that cannot be told."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(handle)
    return False


class ExclusiveLock:
    """A lock file of which only one living process can hold the lock."""

    def __init__(self, path: Path, what: str, patience: float = 30.0) -> None:
        """Take the lock, waiting for a process that is about to end.

        Args:
            path: the lock file.
            what: what is locked, for the message.
            patience: seconds to wait.

        Raises:
            UserError: another process still holds the lock.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + patience
        while True:
            self.handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
            try:
                fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self.handle)
                if time.monotonic() > deadline:
                    raise UserError(
                        f"{what}: another process is at work on it, perhaps left by a killed run. "
                        f"Wait for it or end it (fuser {path} names it), then run the same "
                        "command again"
                    ) from None
                time.sleep(0.2)
                continue
            except OSError:  # a file system without locks: go on without
                return
            # The former holder may have removed the file it had locked: then lock the new one.
            if path.exists() and os.path.samestat(os.fstat(self.handle), path.stat()):
                return
            os.close(self.handle)

    def release(self) -> None:
        """Give the lock up; a process that dies does so too."""
        os.close(self.handle)


def end_with_snakemake(interval: float = 1.0) -> None:
    """Send SIGTERM to this process once the Snakemake that started it is gone.

    Snakemake killed by SIGKILL leaves its jobs behind; they would work on for hours unseen, beside
    the jobs that the next run starts.
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
