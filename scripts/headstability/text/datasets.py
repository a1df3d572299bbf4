"""Large data sets, record by record: text or token ids in .txt, .jsonl and .parquet files."""

import bz2
import gzip
import hashlib
import io
import itertools
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import UserError
from ..storage.files import sha256_file, write_sidecar
from ..storage.resumable import ResumableFiles
from .corpus import Document, document_line

BATCH = 256  # records of a parquet file read at once
# Longest line in bytes: a small compressed file can hold a line that fills the memory.
LONGEST = 2**28


def write_data_set(
    spec: Mapping[str, Any],
    sources: Mapping[str, Callable[[], Path]],
    path: str | Path,
    files: ResumableFiles,
    update: Callable[[int], None] = lambda done: None,
) -> None:
    """Write the documents of data sets of any size; the split of each is drawn on its own.

    `spec` is the `corpus` section of the config; `sources` are functions that fetch each file, by
    name, in order; `files` holds the growing file `documents` and keeps complete source files if
    the job is killed. `update` is told how many source files are done. Raises UserError if a file
    is missing or damaged or a split is left without documents.
    """
    counts = files.state.get("counts", {"train": 0, "held_out": 0})
    done = files.state.get("done", 0)
    for name, fetch in list(sources.items())[done:]:
        found = records(fetch(), name, spec["column"], spec["tokenised"])
        for number, value in enumerate(found, start=1):
            label = f"{name}#{number}"
            split = "held_out" if _drawn(label, spec["seed"]) < spec["held_out"] else "train"
            text, ids = ("", value) if spec["tokenised"] else (value, None)
            files.write("documents", document_line(Document(label, text, split, ids)))
            counts[split] += 1
        done += 1
        files.save({"counts": counts, "done": done})
        update(done)
    if empty := [split for split, count in counts.items() if count == 0]:
        raise UserError(
            f"none of the {sum(counts.values())} document(s) of the corpus is in the {empty[0]} "
            "split: give more documents, or change corpus.held_out or corpus.seed"
        )
    write_sidecar(path, sha256_file(files.folder / "documents"))
    files.publish({"documents": path})


def _drawn(label: str, seed: int) -> float:
    """A number in [0, 1) that depends only on a document's name and the seed."""
    digest = hashlib.blake2b(f"{seed}\0{label}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def records(path: str | Path, name: str, column: str, tokenised: bool) -> Iterator[Any]:
    """The texts, or lists of token ids, of one file, in order; empty ones are left out.

    The ending of `name`, the file's name in the config and in messages, gives the format. Records
    are the `column` of a .jsonl or .parquet file, or the paragraphs of a .txt file. Raises
    UserError if the file is missing, damaged, not UTF-8, or has no such column.
    """
    compression = next(ending for ending in _OPEN if name.endswith(ending))
    stem = name.removesuffix(compression)
    if stem.endswith(".parquet"):
        found = _parquet(path, name, column)
    elif stem.endswith(".txt"):
        found = _paragraphs(_lines(path, name, compression))
    else:
        found = _json_lines(_lines(path, name, compression), name, column)
    check, wanted = (_is_ids, "a list of token ids") if tokenised else (_is_text, "text")
    for number, value in enumerate(found, start=1):
        if value in (None, "", []):
            continue
        if not check(value):
            raise UserError(
                f"{name}: record {number} of column {column!r} is not {wanted}: correct "
                "corpus.column or corpus.tokenised"
            )
        yield value


def _zstandard(path: str | Path, _: str) -> BinaryIO:
    import pyarrow  # noqa: PLC0415 - slow to import, seldom needed

    return io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd"))


# By ending of the file's name, tried in this order.
_OPEN: dict[str, Callable[[str | Path, str], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _zstandard,
    "": open,
}


def _lines(path: str | Path, name: str, compression: str) -> Iterator[str]:
    """Lines of a UTF-8 file, without byte order mark and line ends."""
    try:
        with _OPEN[compression](path, "rb") as handle:
            for number in itertools.count(1):
                if not (line := handle.readline(LONGEST + 1)):
                    break
                if len(line) > LONGEST:
                    raise UserError(
                        f"{name}: line {number} is longer than {LONGEST} bytes: "
                        "put one record on each line"
                    )
                text = line.decode()
                yield (text.removeprefix("\ufeff") if number == 1 else text).rstrip("\r\n")
    except FileNotFoundError:
        raise UserError(f"{name} does not exist") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 (line {number}: {error.reason})") from None
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{name} cannot be read to its end ({reason}): fetch it again") from None


def _paragraphs(lines: Iterator[str]) -> Iterator[str]:
    for blank, piece in itertools.groupby(lines, lambda line: not line.strip()):
        if not blank:
            yield "\n".join(piece).strip()


def _json_lines(lines: Iterator[str], name: str, column: str) -> Iterator[Any]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{name}: line {number} is not JSON ({error})") from None
        if not isinstance(value, dict) or column not in value:
            there = ", ".join(value) if isinstance(value, dict) else "no object"
            raise _no_column(f"{name}: line {number}", column, there)
        yield value[column]


def _parquet(path: str | Path, name: str, column: str) -> Iterator[Any]:
    import pyarrow  # noqa: PLC0415 - slow to import, seldom needed
    import pyarrow.parquet  # noqa: PLC0415

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if column not in file.schema_arrow.names:
                raise _no_column(name, column, ", ".join(file.schema_arrow.names))
            for batch in file.iter_batches(BATCH, columns=[column], use_threads=False):
                yield from batch.column(0).to_pylist()
    except FileNotFoundError:
        raise UserError(f"{name} does not exist") from None
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{name} cannot be read to its end ({reason}): fetch it again") from None


def _no_column(where: str, column: str, there: str) -> UserError:
    return UserError(f"{where} has no column {column!r}, only {there}: correct corpus.column")


def _is_text(value: object) -> bool:
    # JSON may hold halves of surrogate pairs, which are not characters.
    return isinstance(value, str) and not any("\ud800" <= item <= "\udfff" for item in value)


def _is_ids(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)
