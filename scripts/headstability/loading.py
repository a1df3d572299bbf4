"""A checkpoint as a model to cache and ablate, whoever trained it."""

from pathlib import Path
from typing import Any

from .checkpoints import FOREIGN_CONFIG, own_model, read_tensors
from .traced import TracedModel


def load_model(path: str | Path) -> tuple[TracedModel, dict[str, Any]]:
    """Load a model for analysis, on the CPU, in float32 and evaluation mode.

    Args:
        path: a checkpoint, of a cell trained here or imported.

    Returns:
        The model and the checkpoint's header.

    Raises:
        UserError: the file is missing.
        DamagedFile: it is truncated or altered.
    """
    tensors, header = read_tensors(path)
    if FOREIGN_CONFIG not in header:
        return own_model(tensors, header, path), header
    from .sources.huggingface import foreign_model  # noqa: PLC0415 - slow to import, seldom needed

    return foreign_model(header[FOREIGN_CONFIG], tensors, str(path)), header
