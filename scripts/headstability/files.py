"""Writing files so that they are complete or absent, and hashing them."""

import errno
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd

from .errors import DamagedFile, UserError

# Ten significant digits: beyond float32 inputs, short of the last bits that a different BLAS moves.
CSV_FLOAT_FORMAT = "%.10g"
# Columns whose values are text even where they look like numbers.
TEXT_COLUMNS = ("weight_decay", "query_token", "key_token")
# The key under which a JSON file holds the hash of the rest.
SHA256_KEY = "content_sha256"
# What reading values of another kind than were written raises.
NOT_AS_WRITTEN = (ValueError, LookupError, AttributeError, TypeError, RecursionError)

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_READ = {errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE}
_NOT_READ |= {errno.EIO, errno.ETIMEDOUT}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}


_NOTHING_LEFT = "nothing half-written was left behind"


def write_failure(path: Path, error: OSError, left: str = _NOTHING_LEFT) -> UserError:
    """The message for a file that could not be written, by the reason the system gave.

    Args:
        path: the file.
        error: what the system said.
        left: what has become of what was written of it.
    """
    if error.errno in _NO_ROOM:
        return UserError(
            f"cannot write {path}: {os.strerror(error.errno)}.\n"
            f"Free some space (or raise the quota) and run the same command again; {left}."
        )
    if error.errno in _NOT_ALLOWED:
        return UserError(
            f"cannot write {path}: {os.strerror(error.errno)}.\n"
            "Make its folder a directory you may write to, and run the same command again."
        )
    return UserError(f"cannot write {path}: {error}; {left}.")


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
        lock = _create_locked(part)
    except OSError as error:
        raise write_failure(path, error) from error
    try:
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


def _create_locked(part: Path) -> int:
    """Create a temporary file that is this process's alone, and give the handle of its lock.

    Between creating and locking it another writer may take the file for an abandoned one and
    remove it; what is locked is then nobody's file, and the next one is created.
    """
    while True:
        handle = os.open(part, os.O_CREAT | os.O_RDWR, 0o666)
        with suppress(OSError):  # a file system without locks still gets unique names
            fcntl.flock(handle, fcntl.LOCK_EX)
        if _is_named(handle, part):
            return handle
        os.close(handle)


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files of `path` whose writer is gone (its lock can be taken)."""
    for part in path.parent.glob(f".{path.name}.*.part"):
        with suppress(OSError):
            handle = os.open(part, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Its writer may have renamed it just now and begun another one of this name.
                if _is_named(handle, part):
                    part.unlink(missing_ok=True)
            finally:
                os.close(handle)


def _is_named(handle: int, path: Path) -> bool:
    """Whether `path` is (still) the name of an open file."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


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


def write_json(path: str | Path, value: dict[str, Any]) -> None:
    """Write a mapping as JSON with sorted keys and its own hash, complete or not at all."""
    content = {**value, SHA256_KEY: json_sha256(value)}
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: str | Path) -> dict[str, Any]:
    """Read what `write_json` wrote, without the hash.

    Raises:
        UserError: the file is missing.
        DamagedFile: it is truncated or altered.
    """
    try:
        value = json.loads(Path(path).read_bytes())
        recorded = value.pop(SHA256_KEY)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, *NOT_AS_WRITTEN) as error:
        raise read_failure(path, "not the JSON that was written", error) from error
    found = json_sha256(value)
    if found != recorded:
        raise DamagedFile(path, f"its content has sha256 {found}, recorded is {recorded}")
    return value


def json_sha256(value: dict[str, Any]) -> str:
    """The sha256 of a mapping as JSON, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sidecar(path: str | Path) -> Path:
    """Where the hash of a table or figure lies: hidden beside it, in the format of sha256sum."""
    path = Path(path)
    return path.with_name(f".{path.name}.sha256")


def write_sidecar(path: str | Path, sha256: str) -> None:
    """Record the hash of a file that is about to appear: without its hash it cannot."""
    write_bytes(sidecar(path), f"{sha256}  {Path(path).name}\n".encode())


def check_sidecar(path: str | Path, found: str) -> None:
    """Compare a file's hash with the recorded one.

    Raises:
        DamagedFile: they differ, or none is recorded.
    """
    try:
        recorded = sidecar(path).read_text(encoding="utf-8").split()[0]
    except (OSError, ValueError, IndexError):
        raise DamagedFile(path, f"its hash, {sidecar(path).name}, is missing") from None
    if found != recorded:
        raise DamagedFile(path, f"its sha256 is {found}, recorded is {recorded}")


def write_hashed(path: str | Path, data: bytes) -> None:
    """Write `data` and its hash beside it."""
    write_sidecar(path, hashlib.sha256(data).hexdigest())
    write_bytes(path, data)


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Write `table` as CSV and its hash beside it; missing values are empty fields."""
    data = table.to_csv(index=False, float_format=CSV_FLOAT_FORMAT, lineterminator="\n").encode()
    write_hashed(path, data)


def write_text(path: str | Path, text: str) -> None:
    """Write a page and its hash beside it."""
    write_hashed(path, text.encode())


def read_csv(path: str | Path) -> pd.DataFrame:
    """Read what `write_csv` wrote.

    Weight decays stay text, as they are spelled in paths, and so do tokens; only an empty field
    is a missing value, for NA and null may be tokens or names.

    Raises:
        UserError: the file is missing.
        DamagedFile: it is truncated, altered or lacks its hash.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise missing(path) from None
    check_sidecar(path, hashlib.sha256(data).hexdigest())
    text = dict.fromkeys(TEXT_COLUMNS, str)
    return pd.read_csv(io.BytesIO(data), dtype=text, keep_default_na=False, na_values=[""])


def sha256_file(path: str | Path) -> str:
    """The sha256 of a file's bytes, as 64 hex digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def missing(path: str | Path) -> UserError:
    """The message for an input that has vanished since Snakemake looked."""
    return UserError(f"{path} is missing: run the same command again")


def read_failure(path: str | Path, reason: str, error: Exception) -> UserError:
    """The message for a file of this workflow that could not be read.

    Args:
        path: the file.
        reason: what is wrong with it if nothing else is, such as "not a complete checkpoint".
        error: what the reading of it raised.

    Returns:
        That it is missing, that the system refused it (the file may be whole: it stays where it
        is), or, of any other error, a DamagedFile.
    """
    if isinstance(error, FileNotFoundError) and not Path(path).exists():
        return missing(path)
    if isinstance(error, OSError) and error.errno in _NOT_READ:
        return UserError(
            f"cannot read {path}: {os.strerror(error.errno)}. It was left as it is: make it "
            "readable, or wait until the disk answers again, and run the same command again"
        )
    return DamagedFile(path, f"{reason} ({short_reason(error)})")


def short_reason(error: Exception) -> str:
    """What an error says, in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."


def set_aside(error: DamagedFile) -> str:
    """Rename a damaged output, so that the next run makes it again; the message that says so.

    Renaming keeps the bytes: a checkpoint that took hours may still be worth a look.
    """
    aside = error.path.with_name(error.path.name + ".damaged")
    try:
        os.replace(error.path, aside)
    except OSError as failure:
        if error.path.exists() or not aside.exists():  # else another job was faster
            return (
                f"{error}.\nIt could not be set aside ({failure.strerror}): delete it and run the "
                "same command again to rebuild it."
            )
    return (
        f"{error}.\nIt was set aside as {aside.name}: run the same command again and Snakemake "
        "rebuilds it."
    )
