"""Prompt sets: passages of held-out documents, or the user's own."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from .errors import UserError
from .tokenization import encode
from .tokens import TokenFile


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
