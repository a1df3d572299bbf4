"""Training, loading and applying tokenizers."""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from ..errors import UserError
from ..storage.files import check_sidecar, read_failure, short_reason, write_hashed

# The beginning token of tokenizers trained here, which also separates documents.
BOS = "<|endoftext|>"


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Train a byte-level BPE of `vocabulary` tokens, BOS included; tiny corpora give fewer."""
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
    """Load a tokenizer.json; UserError if it is not one or lacks its beginning token."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise UserError(f"{path} is not a tokenizer.json: {short_reason(error)}") from error
    bos = bos or BOS
    if tokenizer.token_to_id(bos) is None:
        raise UserError(f"{path} has no token {bos!r}: set tokenizer.bos to its beginning token")
    return tokenizer


def load_own_tokenizer(path: str | Path, bos: str | None) -> Tokenizer:
    """As `load_tokenizer`, for what `save_tokenizer` wrote; DamagedFile if it has changed."""
    try:
        check_sidecar(path)
    except OSError as error:
        raise read_failure(path, "not a tokenizer.json", error) from error
    return load_tokenizer(path, bos)


def save_tokenizer(tokenizer: Tokenizer, path: str | Path) -> None:
    """Write a tokenizer.json and, beside it, its hash."""
    write_hashed(path, tokenizer.to_str(pretty=True).encode())


def encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Token ids of each text, without the tokenizer's own special tokens."""
    return [item.ids for item in tokenizer.encode_batch(texts, add_special_tokens=False)]
