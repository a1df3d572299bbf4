"""Tokenizers, and turning documents into flat token files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from .errors import UserError
from .files import atomic_path, sha256_file, write_bytes, write_json

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
        paths: where to write 'train', 'held_out' and 'manifest'; 'tokenizer' and 'documents' are
            hashed.

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
        "documents_sha256": sha256_file(paths["documents"]),
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
