"""Whole texts as token ids: the held-out split, and files of the user's."""

from collections.abc import Mapping

import numpy as np
from tokenizers import Tokenizer

from .corpus import read_text
from .errors import UserError
from .tokenization import encode
from .tokens import TokenFile

HELD_OUT = "held_out"


def token_texts(
    paths: Mapping[str, str], tokenizer: Tokenizer, held_out: TokenFile
) -> dict[str, np.ndarray]:
    """The held-out split and the user's texts, each with one BOS before its first token.

    Args:
        paths: the user's UTF-8 files, by the name the config gives them.
        tokenizer: the study's.
        held_out: the held-out split, with its BOS between documents.

    Returns:
        Token ids by name, [token], `held_out` first.

    Raises:
        UserError: a file cannot be read, is not UTF-8, or holds no token.
    """
    texts = {HELD_OUT: np.append(held_out.bos, held_out.ids)}
    for name, path in paths.items():
        key = f"perplexity.texts.{name}"
        (ids,) = encode(tokenizer, [read_text(path, key)])
        texts[name] = np.array([held_out.bos, *ids])
        if (texts[name] == held_out.bos).all():
            raise UserError(f"{key}: {path} holds no text to predict")
    return texts
