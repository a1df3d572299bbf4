"""Tokenizers, the flat token files, training rows and prompts."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from .errors import UserError
from .files import atomic_path, damaged, read_json, sha256_file, write_bytes, write_json

# The beginning token of tokenizers trained here; it also stands between documents.
BOS = "<|endoftext|>"


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Train a byte-level BPE.

    Args:
        texts: the training documents.
        vocabulary: size asked for, the beginning token included; tiny corpora give fewer.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load_tokenizer(path: str | Path, bos: str | None) -> Tokenizer:
    """Load a tokenizer.json and check that it has its beginning token.

    Raises:
        UserError: the file is missing, is not a tokenizer, or lacks the token.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise UserError(f"{path} is not a tokenizer.json: {error}") from error
    bos = bos or BOS
    if tokenizer.token_to_id(bos) is None:
        raise UserError(f"{path} has no token {bos!r}: set tokenizer.bos to its beginning token")
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, path: str | Path) -> None:
    """Write a tokenizer.json, complete or not at all."""
    write_bytes(path, tokenizer.to_str(pretty=True).encode())


def encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Token ids of each text, without special tokens of the tokenizer's own."""
    return [item.ids for item in tokenizer.encode_batch(texts, add_special_tokens=False)]


def write_tokens(
    tokenizer: Tokenizer, bos: str | None, splits: dict[str, Iterable[str]], paths: dict[str, str]
) -> None:
    """Tokenise both splits into flat files and write their manifest.

    Args:
        tokenizer: the tokenizer.
        bos: its beginning token; it stands between documents.
        splits: texts of the documents by split, 'train' and 'held_out'.
        paths: where to write 'train', 'held_out' and 'manifest'; 'tokenizer' is hashed.

    Raises:
        UserError: a split holds no tokens.
    """
    size = tokenizer.get_vocab_size()
    kind = np.dtype("<u2") if size <= 2**16 else np.dtype("<u4")
    bos_id = tokenizer.token_to_id(bos or BOS)
    manifest: dict[str, Any] = {
        "vocabulary": size,
        "bos": bos_id,
        "dtype": kind.str,
        "tokenizer_sha256": sha256_file(paths["tokenizer"]),
        "splits": {},
    }
    for split in ("train", "held_out"):
        written, documents = 0, 0
        with atomic_path(paths[split]) as part:
            with open(part, "wb") as handle:
                for batch in _batches(splits[split], 64):
                    for ids in encode(tokenizer, batch):
                        separated = ids if documents == 0 else [bos_id, *ids]
                        # Not tofile: its error on a full disk does not say that it is full.
                        handle.write(np.asarray(separated, dtype=kind).tobytes())
                        written += len(separated)
                        documents += 1
            if written == 0:
                raise UserError(f"the {split} split of the corpus holds no tokens: give more text")
        manifest["splits"][split] = {
            "tokens": written,
            "documents": documents,
            "sha256": sha256_file(paths[split]),
        }
    write_json(paths["manifest"], manifest)


def _batches(items: Iterable[str], size: int) -> Iterable[list[str]]:
    batch: list[str] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


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
        """Rows by index.

        Args:
            indices: shape [n], each below `row_count(context)`.
            context: positions in a row, BOS included.

        Returns:
            int64, shape [n, context]; column 0 is BOS.
        """
        out = np.empty((len(indices), context), dtype=np.int64)
        out[:, 0] = self.bos
        starts = np.asarray(indices, dtype=np.int64) * (context - 1)
        out[:, 1:] = self.ids[starts[:, None] + np.arange(context - 1)]
        return out

    def spread_rows(self, count: int, context: int) -> np.ndarray:
        """At most `count` rows spread evenly over the split; shape [n, context]."""
        available = self.row_count(context)
        chosen = np.unique(np.linspace(0, available - 1, min(count, available)).astype(np.int64))
        return self.rows(chosen, context)


def open_tokens(manifest_path: str | Path, path: str | Path, split: str) -> TokenFile:
    """Open one split's token file and check it against the manifest.

    Raises:
        UserError: its size or hash is not the recorded one; it is set aside and will be remade.
    """
    manifest = read_json(manifest_path)
    recorded = manifest["splits"][split]
    kind = np.dtype(manifest["dtype"])
    size = Path(path).stat().st_size
    if size != recorded["tokens"] * kind.itemsize:
        raise damaged(path, f"{size} bytes, expected {recorded['tokens'] * kind.itemsize}")
    if sha256_file(path) != recorded["sha256"]:
        raise damaged(path, f"its sha256 is not {recorded['sha256']}")
    ids = np.memmap(path, dtype=kind, mode="r")
    return TokenFile(ids, manifest["bos"], manifest["vocabulary"], recorded["sha256"])


def passages(tokens: TokenFile, count: int, length: int, seed: int) -> list[list[int]]:
    """Draw passages from held-out documents, none crossing a document's end, none overlapping.

    Args:
        tokens: the held-out split.
        count: passages to draw.
        length: tokens in each.
        seed: seed of the draw.

    Returns:
        `count` lists of `length` token ids, without BOS.

    Raises:
        UserError: the held-out documents hold fewer passages of that length.
    """
    ids = np.asarray(tokens.ids)
    ends = np.append(np.flatnonzero(ids == tokens.bos), len(ids))
    starts = np.append(0, ends[:-1] + 1)
    slots = [np.arange(a, b - length + 1, length) for a, b in zip(starts, ends, strict=True)]
    available = np.concatenate(slots)
    if len(available) < count:
        raise UserError(
            f"the held-out documents hold {len(available)} passages of {length} tokens, "
            f"{count} are asked for: lower prompts.*.count or tokens, or raise corpus.held_out"
        )
    drawn = np.random.default_rng(seed).permutation(len(available))[:count]
    return [ids[start : start + length].tolist() for start in available[drawn]]


def prompts_from_file(path: str | Path, tokenizer: Tokenizer, context: int) -> list[list[int]]:
    """Tokenise the prompts of a .txt (one a line) or .json (a list of strings) file.

    Returns:
        One list of token ids a prompt, without BOS.

    Raises:
        UserError: the file cannot be read, or a prompt is empty or does not fit the context.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        # Not splitlines, which also splits at form feeds and Unicode's separators.
        texts = json.loads(text) if str(path).endswith(".json") else text.split("\n")
    except (OSError, ValueError) as error:
        raise UserError(f"prompts file {path} cannot be read: {error}") from error
    if not isinstance(texts, list) or not all(isinstance(item, str) for item in texts):
        raise UserError(f"prompts file {path}: a .json file must hold a list of strings")
    if not str(path).endswith(".json"):
        texts = [item for item in texts if item.strip()]
    if not texts:
        raise UserError(f"prompts file {path} holds no prompts")
    for number, item in enumerate(texts, start=1):
        if not item.isascii() and any("\ud800" <= character <= "\udfff" for character in item):
            raise UserError(f"prompts file {path}: prompt {number} holds half a surrogate pair")
    ids = encode(tokenizer, texts)
    for number, item in enumerate(ids, start=1):
        if not item:
            raise UserError(f"prompts file {path}: prompt {number} is empty")
        if len(item) + 1 > context:
            raise UserError(
                f"prompts file {path}: prompt {number} has {len(item)} tokens; with the beginning "
                f"token at most training.context = {context} fit"
            )
    return ids


def make_prompts(spec: dict, tokens: TokenFile, tokenizer: Tokenizer) -> dict[str, Any]:
    """The prompt set a specification describes, as it is written to JSON.

    Returns:
        name, bos, tokens (token ids per prompt, BOS first) and texts (without BOS).
    """
    if spec["type"] == "file":
        drawn = prompts_from_file(spec["path"], tokenizer, spec["context"])
    else:
        drawn = passages(tokens, spec["count"], spec["tokens"], spec["seed"])
    return {
        "name": spec["name"],
        "bos": tokens.bos,
        "tokens": [[tokens.bos, *ids] for ids in drawn],
        "texts": [tokenizer.decode(ids, skip_special_tokens=False) for ids in drawn],
    }
