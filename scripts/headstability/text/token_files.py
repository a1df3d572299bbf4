"""The flat token files and the training rows in them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DamagedFile
from ..storage.files import NOT_AS_WRITTEN, read_json, sha256_file

# Types of token ids, as manifests name them.
_KINDS = {kind: kind for kind in ("<u2", "<u4")}


@dataclass(frozen=True)
class TokenFile:
    """A split's tokens, read through a memory map.

    Attributes:
        ids: all tokens of the split, shape [tokens], unsigned integers.
        bos: id of the beginning token.
        vocabulary: number of distinct ids.
        sha256: hash of the file's bytes.
    """

    ids: np.ndarray
    bos: int
    vocabulary: int
    sha256: str

    def row_count(self, context: int) -> int:
        """Rows of `context` positions the split holds: each is BOS and the next context - 1."""
        return len(self.ids) // (context - 1)

    def rows(self, indices: np.ndarray, context: int) -> np.ndarray:
        """Rows by index (shape [n], each below `row_count(context)`).

        Returns:
            int64, shape [n, context]; column 0 is BOS.
        """
        out = np.empty((len(indices), context), dtype=np.int64)
        out[:, 0] = self.bos
        used = self.row_count(context) * (context - 1)
        out[:, 1:] = self.ids[:used].reshape(-1, context - 1)[indices]
        return out

    def spread_rows(self, count: int, context: int) -> np.ndarray:
        """At most `count` rows spread evenly over the split; shape [n, context]."""
        available = self.row_count(context)
        chosen = np.unique(np.linspace(0, available - 1, min(count, available)).astype(np.int64))
        return self.rows(chosen, context)


def open_tokens(
    manifest_path: str | Path,
    path: str | Path,
    split: str,
    place: Callable[[str | Path, str], str | Path] = lambda path, sha256: path,
) -> TokenFile:
    """Open one split's ('train' or 'held_out') token file and check it against the manifest.

    `place` says from its path and hash where to read it instead: a copy on a faster disk.

    Raises:
        DamagedFile: its size or hash is not the recorded one.
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
