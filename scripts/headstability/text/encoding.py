"""Turning documents into flat files of tokens."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from ..conventions import BATCH_BYTES
from ..errors import UserError
from ..storage.files import check_sidecar, json_sha256, sha256_file, write_json
from ..storage.resumable import ResumableFiles
from .corpus import Document, document_of, read_text
from .token_files import TokenFile
from .tokenizers import BOS, encode

SPLITS = ("train", "held_out")


def write_tokens(
    tokenizer: Tokenizer,
    bos: str | None,
    paths: Mapping[str, str],
    folder: str | Path,
    save_seconds: float = 20.0,
    update: Callable[[int], None] = lambda done: None,
) -> None:
    """Tokenise documents into one flat file for each split and write their manifest.

    Memory holds a few megabytes of text at a time, which the tokenizer divides among threads
    (RAYON_NUM_THREADS). The beginning token `bos` stands between documents. `paths` has `documents`
    and `tokenizer`, and where to write `train`, `held_out` and `manifest`. Unfinished work is saved
    in `folder`, `save_seconds` apart: a killed job continues from there and gives the same bytes.
    `update` is told how many bytes of the documents are done.

    Raises UserError if a split holds no tokens or an id is not one of the tokenizer's, and
    DamagedFile if the documents are not complete.
    """
    size = tokenizer.get_vocab_size()
    kind = np.dtype("<u2") if size <= 2**16 else np.dtype("<u4")
    bos_id = tokenizer.token_to_id(bos or BOS)
    manifest: dict[str, Any] = {
        "vocabulary": size,
        "bos": bos_id,
        "dtype": kind.str,
        "tokenizer_sha256": sha256_file(paths["tokenizer"]),
        "documents_sha256": check_sidecar(paths["documents"]),
    }
    files = ResumableFiles(folder, list(SPLITS), json_sha256(manifest))
    state = files.state or {"offset": 0, "lines": 0, "documents": dict.fromkeys(SPLITS, 0)}
    tokens = {name: handle.tell() // kind.itemsize for name, handle in files.handles.items()}
    saved = time.monotonic()
    with open(paths["documents"], "rb") as source:
        source.seek(state["offset"])
        while lines := source.readlines(BATCH_BYTES):
            numbered = enumerate(lines, start=state["lines"] + 1)
            batch = [document_of(line, number, paths["documents"]) for number, line in numbered]
            for item, ids in zip(batch, _ids(tokenizer, batch, size, bos_id), strict=True):
                separated = [bos_id, *ids] if state["documents"][item.split] else ids
                files.write(item.split, np.asarray(separated, dtype=kind).tobytes())
                tokens[item.split] += len(separated)
                state["documents"][item.split] += 1
            state["offset"], state["lines"] = source.tell(), state["lines"] + len(lines)
            update(state["offset"])
            if time.monotonic() - saved >= save_seconds:
                files.save(state)
                saved = time.monotonic()
    for split, count in tokens.items():
        if count == 0:
            raise UserError(f"the {split} split of the corpus holds no tokens: give more text")
    files.save(state)
    splits = {
        split: {
            "tokens": tokens[split],
            "documents": state["documents"][split],
            "sha256": sha256_file(files.folder / split),
        }
        for split in SPLITS
    }
    files.publish({split: paths[split] for split in SPLITS})
    write_json(paths["manifest"], {**manifest, "splits": splits})
    files.forget()


def _ids(
    tokenizer: Tokenizer, documents: Sequence[Document], size: int, bos_id: int
) -> list[list[int]]:
    """Token ids of each document, without a beginning token before them."""
    texts = [item.text for item in documents if item.ids is None]
    encoded = iter(encode(tokenizer, texts))
    found = []
    for item in documents:
        if item.ids is None:
            found.append(next(encoded))
        elif max(item.ids) >= size:
            raise UserError(
                f"{item.name} holds the token id {max(item.ids)}, but the tokenizer has {size} "
                "tokens: give the tokenizer that the corpus was tokenised with"
            )
        else:
            found.append(item.ids[1:] if item.ids[0] == bos_id else item.ids)
    return found


def token_texts(
    paths: Mapping[str, str], tokenizer: Tokenizer, held_out: TokenFile
) -> dict[str, np.ndarray]:
    """Token ids [token] of the held-out split and of the user's UTF-8 files, by name.

    `held_out` comes first; each text has one BOS before its first token. Raises UserError if a file
    cannot be read, is not UTF-8, or holds no token.
    """
    texts = {"held_out": np.append(held_out.bos, held_out.ids)}
    for name, path in paths.items():
        key = f"perplexity.texts.{name}"
        (ids,) = encode(tokenizer, [read_text(path, key)])
        texts[name] = np.array([held_out.bos, *ids])
        if (texts[name] == held_out.bos).all():
            raise UserError(f"{key}: {path} holds no text to predict")
    return texts
