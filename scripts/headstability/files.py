"""Writing files so that they are complete or absent, and hashing them."""

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd

from .errors import UserError

# Ten significant digits: beyond float32 inputs, short of the last bits that a different BLAS moves.
CSV_FLOAT_FORMAT = "%.10g"

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}


def write_failure(path: Path, error: OSError) -> UserError:
    """The message for a file that could not be written, by the reason the system gave."""
    if error.errno in _NO_ROOM:
        return UserError(
            f"cannot write {path}: {os.strerror(error.errno)}.\n"
            "Free some space (or raise the quota) and run the same command again; "
            "nothing half-written was left behind."
        )
    if error.errno in _NOT_ALLOWED:
        return UserError(
            f"cannot write {path}: {os.strerror(error.errno)}.\n"
            "Make its folder a directory you may write to, and run the same command again."
        )
    return UserError(f"cannot write {path}: {error}. Nothing half-written was left behind.")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` if the block succeeds.

    The temporary file is unique to this process and locked while it is being written, so that a
    job orphaned by a killed run and its successor never write into one file. What a killed
    writer left behind is removed by the next writer of the same path.

    Raises:
        UserError: the file cannot be written (disk full, folder not writable).
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.uname().nodename}-{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        lock = os.open(part, os.O_CREAT | os.O_RDWR, 0o666)
    except OSError as error:
        raise write_failure(path, error) from error
    try:
        with suppress(OSError):  # a file system without locks still gets unique names
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield part
        part.chmod(0o666 & ~_umask())  # some writers make their files private
        _sync(part)
        os.replace(part, path)
        _sync(path.parent)
    except OSError as error:
        if error.errno in _NO_ROOM | _NOT_ALLOWED:
            raise write_failure(path, error) from error
        raise
    finally:
        part.unlink(missing_ok=True)
        os.close(lock)


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files of `path` whose writer is gone (its lock can be taken)."""
    for part in path.parent.glob(f".{path.name}.*.part"):
        with suppress(OSError):
            handle = os.open(part, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink(missing_ok=True)
            finally:
                os.close(handle)


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    current = os.umask(0)
    os.umask(current)
    return current


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, complete or not at all."""
    with atomic_path(path) as part:
        part.write_bytes(data)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys, complete or not at all."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    write_bytes(path, (text + "\n").encode())


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Write `table` as CSV, complete or not at all; missing values are empty fields."""
    text = table.to_csv(index=False, float_format=CSV_FLOAT_FORMAT, lineterminator="\n")
    write_bytes(path, text.encode())


def read_json(path: str | Path) -> Any:
    """Read JSON written by this workflow.

    Raises:
        UserError: the file is not whole; it is set aside so that the next run makes it again.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise damaged(path, f"not valid JSON ({error})") from error


def sha256_file(path: str | Path) -> str:
    """The sha256 of a file's bytes, as 64 hex digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def damaged(path: str | Path, reason: str) -> UserError:
    """Set a damaged output aside and say so; the next run then finds it missing and rebuilds it.

    Renaming keeps the bytes: a checkpoint that took hours may still be worth a look.
    """
    path = Path(path)
    aside = path.with_name(path.name + ".damaged")
    try:
        os.replace(path, aside)
    except OSError as error:
        return UserError(
            f"{path} is damaged: {reason}.\nIt could not be set aside ({error}): "
            "delete it and run the same command again to rebuild it."
        )
    return UserError(
        f"{path} is damaged: {reason}.\nIt was set aside as {aside.name}: "
        "run the same command again and Snakemake rebuilds it."
    )
