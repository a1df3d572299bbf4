"""Prompt sets: passages of held-out documents, or the user's own."""

import io
import json
import pickle
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
from tokenizers import Tokenizer

from ..errors import UserError
from ..hub.web import fetch_file
from ..storage.files import short_reason
from .token_files import TokenFile
from .tokenizers import encode


def passages(
    tokens: TokenFile, count: int, length: int, seed: int
) -> tuple[list[list[int]], list[int]]:
    """Draw passages from held-out documents that neither cross a document's end nor overlap.

    Returns `count` lists of `length` token ids without BOS, and the document each is from (from 1);
    UserError if there are too few.
    """
    ids = np.asarray(tokens.ids)
    ends = np.append(np.flatnonzero(ids == tokens.bos), len(ids))
    starts = np.append(0, ends[:-1] + 1)
    slots = [np.arange(a, b - length + 1, length) for a, b in zip(starts, ends, strict=True)]
    available = np.concatenate(slots)
    if len(available) < count:
        raise UserError(
            f"the held-out documents hold {len(available)} passages of {length} tokens, "
            f"but {count} are requested: lower prompts.*.count or tokens, or raise corpus.held_out"
        )
    drawn = np.random.default_rng(seed).permutation(len(available))[:count]
    chosen = available[drawn]
    documents = 1 + np.searchsorted(ends, chosen)
    return [ids[start : start + length].tolist() for start in chosen], documents.tolist()


def _refuse_room(_: object) -> NoReturn:
    """Refuse an array whose size, stated in a few bytes, could be anything."""
    raise pickle.UnpicklingError("it holds an array of bytes")


class _PlainUnpickler(pickle._Unpickler):
    """Reads plain containers and refuses everything that would import or call anything.

    It is Python's own unpickler, since the faster one in C allocates as many objects as a pickle
    claims to have.
    """

    dispatch: ClassVar = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: _refuse_room}

    def find_class(self, module: str, name: str) -> NoReturn:
        """Refuse: no name of any module is looked up, so no code can be reached."""
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: object) -> NoReturn:
        """Refuse objects that are kept elsewhere."""
        raise pickle.UnpicklingError("it refers to an object outside")


def unpickle_texts(data: bytes) -> list[str]:
    """A pickled list of strings, read without running anything in it; ValueError if it is none."""
    try:
        value = _PlainUnpickler(io.BytesIO(data)).load()
    except Exception as error:  # damaged pickles may raise almost any exception
        raise ValueError(f"not a pickled list of strings: {error}") from error
    if not isinstance(value, list) or not all(type(item) is str for item in value):
        raise ValueError("not a pickled list of strings: it holds other things")
    return value


def _texts(path: Path) -> object:
    """What a prompts file holds, before it is checked."""
    if path.name.endswith(".pkl"):
        return unpickle_texts(path.read_bytes())
    text = path.read_text(encoding="utf-8-sig")
    if path.name.endswith(".json"):
        return json.loads(text)
    # splitlines would also split at form feeds and Unicode's separators.
    return [item for item in text.split("\n") if item.strip()]


def prompts_from_file(path: str | Path, tokenizer: Tokenizer, context: int) -> list[list[int]]:
    """Token ids, without BOS, of the prompts in a file; nothing in a pickle is run.

    The file is .txt (one prompt on each line), or .json or .pkl (a list of strings). Raises
    UserError if it cannot be read, or if a prompt is empty or does not fit the context.
    """
    try:
        texts = _texts(Path(path))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"prompts file {path} cannot be read: {short_reason(error)}") from error
    if not isinstance(texts, list) or not all(isinstance(item, str) for item in texts):
        raise UserError(f"prompts file {path}: it must hold a list of strings")
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
    """The prompt set of a specification: name, bos, tokens (BOS first), texts (without BOS).

    And documents: the one each prompt is from; prompts of a file are documents of their own.
    """
    documents = None
    if spec["type"] == "url":
        path = fetch_file(spec["url"], spec["sha256"], f"prompts.{spec['name']}")
        drawn = prompts_from_file(path, tokenizer, spec["context"])
    elif spec["type"] == "file":
        drawn = prompts_from_file(spec["path"], tokenizer, spec["context"])
    else:
        drawn, documents = passages(tokens, spec["count"], spec["tokens"], spec["seed"])
    return {
        "name": spec["name"],
        "bos": tokens.bos,
        "tokens": [[tokens.bos, *ids] for ids in drawn],
        "texts": [tokenizer.decode(ids, skip_special_tokens=False) for ids in drawn],
        "documents": documents or list(range(1, len(drawn) + 1)),
    }
