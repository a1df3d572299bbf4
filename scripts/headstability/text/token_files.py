"""Flat token files and the training rows in them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DamagedFile
from ..storage.files import NOT_AS_WRITTEN, read_json, sha256_file

# Types of token ids, as named in manifests.
_KINDS = {kind: kind for kind in ("<u2", "<u4")}


@dataclass(frozen=True)
class TokenFile:
    """The tokens of a split, read through a memory map."""

    ids: np.ndarray  # all tokens of the split, [token], unsigned integers
    bos: int  # id of the beginning token
    vocabulary: int  # number of distinct ids
    sha256: str  # of the file's bytes

    def row_count(self, context: int) -> int:
        """Rows of `context` positions in the split: BOS and the next context - 1 tokens."""
        return len(self.ids) // (context - 1)

    def rows(self, indices: np.ndarray, context: int) -> np.ndarray:
        """Rows by index [n], below `row_count(context)`: int64 [n, context], BOS in column 0."""
        out = np.empty((len(indices), context), dtype=np.int64)
        out[:, 0] = self.bos
        used = self.row_count(context) * (context - 1)
        out[:, 1:] = self.ids[:used].reshape(-1, context - 1)[indices]
        return out

    def spread_rows(self, count: int, context: int) -> np.ndarray:
        """At most `count` rows spread evenly over the split, [n, context]."""
        available = self.row_count(context)
        chosen = np.unique(np.linspace(0, available - 1, min(count, available)).astype(np.int64))
        return self.rows(chosen, context)


def open_tokens(
    manifest_path: str | Path,
    path: str | Path,
    split: str,
    place: Callable[[str | Path, str], str | Path] = lambda path, sha256: path,
) -> TokenFile:
    """Open the token file of a split (`train` or `held_out`) and check it against the manifest.

    `place` gives, from the path and the hash, the path to read instead: a copy on a faster disk.
    Raises DamagedFile if size or hash differ from the recorded ones.
    """
    manifest = read_json(manifest_path)
    try:
        recorded = manifest["splits"][split]
        kind = np.dtype(_KINDS[manifest["dtype"]])
        expected = int(recorded["tokens"]) * kind.itemsize
        bos, vocabulary = int(manifest["bos"]), int(manifest["vocabulary"])
    except NOT_AS_WRITTEN as error:
        raise DamagedFile(manifest_path, f"no manifest of tokens ({error})") from error
    size = Path(path).stat().st_size
    if size != expected:
        raise DamagedFile(path, f"{size} bytes, expected {expected}")
    path = place(path, recorded["sha256"])
    if sha256_file(path) != recorded["sha256"]:
        raise DamagedFile(path, f"its sha256 is not {recorded['sha256']}")
    ids = np.memmap(path, dtype=kind, mode="r")
    return TokenFile(ids, bos, vocabulary, recorded["sha256"])
