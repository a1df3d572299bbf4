"""Writing files so that they are complete or absent, and hashing them."""

import errno
import hashlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import DamagedFile, UserError
from .locks import remove_abandoned, take_lock

# Ten significant digits: beyond float32 inputs, short of the last bits that a different BLAS moves.
CSV_FLOAT_FORMAT = "%.10g"
# Columns whose values are text even where they look like numbers.
TEXT_COLUMNS = ("weight_decay", "query_token", "key_token")
SHA256_KEY = "content_sha256"  # of the rest of a JSON file
# What reading values of another kind than were written raises.
NOT_AS_WRITTEN = (ValueError, LookupError, AttributeError, TypeError, RecursionError)

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_READ = {errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE}
_NOT_READ |= {errno.EIO, errno.ETIMEDOUT}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}


def write_failure(
    path: Path, error: OSError, left: str = "nothing half-written was left behind"
) -> UserError:
    """The message for a file that could not be written; `left` says what is left of it."""
    if error.errno in _NO_ROOM:
        advice = f"Free some space (or raise the quota) and run the same command again; {left}."
    elif error.errno in _NOT_ALLOWED:
        advice = "Make its folder a directory you may write to, and run the same command again."
    else:
        return UserError(f"cannot write {path}: {error}; {left}.")
    return UserError(f"cannot write {path}: {os.strerror(error.errno)}.\n{advice}")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` if the block succeeds.

    The temporary file is this process's own and locked, so that a job orphaned by a killed run and
    its successor never write into one file. The next writer of the path removes abandoned ones.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.uname().nodename}-{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for abandoned in path.parent.glob(f".{path.name}.*.part"):
            remove_abandoned(abandoned)
        lock = take_lock(part)
    except OSError as error:
        raise write_failure(path, error) from error
    try:
        yield part
        mask = os.umask(0)  # which can only be read by setting it
        os.umask(mask)
        part.chmod(0o666 & ~mask)  # some writers make their files private
        _sync(part)
        os.replace(part, path)
        _sync(path.parent)
    except OSError as error:
        if error.errno in _NO_ROOM | _NOT_ALLOWED:
            raise write_failure(path, error) from error
        raise
    finally:
        part.unlink(missing_ok=True)
        lock.release()


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
    """Read what `write_json` wrote, without the hash; a UserError if it is missing or damaged."""
    try:
        value = json.loads(Path(path).read_bytes())
        recorded = value.pop(SHA256_KEY)
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


def check_sidecar(path: str | Path, found: str | None = None) -> str:
    """Check a file's sha256, `found` if it is known, against the recorded one; returns it."""
    found = found or sha256_file(path)
    try:
        recorded = sidecar(path).read_text(encoding="utf-8").split()[0]
    except (OSError, ValueError, IndexError):
        raise DamagedFile(path, f"its hash, {sidecar(path).name}, is missing") from None
    if found != recorded:
        raise DamagedFile(path, f"its sha256 is {found}, recorded is {recorded}")
    return found


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
    """Read what `write_csv` wrote; weight decays, as spelled in paths, and tokens stay text.

    A UserError says that the file is missing, or that it is damaged or lacks its hash.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise read_failure(path, "not the table that was written", error) from error
    check_sidecar(path, hashlib.sha256(data).hexdigest())
    text = dict.fromkeys(TEXT_COLUMNS, str)
    # Only an empty field is a missing value: NA and null may be tokens or names.
    return pd.read_csv(io.BytesIO(data), dtype=text, keep_default_na=False, na_values=[""])


def sha256_file(path: str | Path) -> str:
    """The sha256 of a file's bytes, as 64 hex digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def read_failure(path: str | Path, reason: str, error: Exception) -> UserError:
    """The message for a file of this workflow that could not be read, by the error this raised.

    Where the system refused it, the file may be whole and stays; `reason` says what it is not, such
    as "not a complete checkpoint", if it is damaged.
    """
    if isinstance(error, FileNotFoundError) and not Path(path).exists():
        return UserError(f"{path} is missing: run the same command again")
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
    """Rename a damaged output, which keeps its bytes, so that the next run rebuilds it; says so."""
    aside = error.path.with_name(error.path.name + ".damaged")
    again = "run the same command again"
    try:
        os.replace(error.path, aside)
    except OSError as failure:
        if error.path.exists() or not aside.exists():  # else another job was faster
            why = f"It could not be set aside ({failure.strerror}): delete it and {again}"
            return f"{error}.\n{why} to rebuild it."
    return f"{error}.\nIt was set aside as {aside.name}: {again} and Snakemake rebuilds it."
