"""Sizes of a layer's weight matrices (docs/experiments.md, "Weight norms")."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .errors import UserError
from .tensorfiles import FOREIGN_CONFIG, read_arrays, read_header

# Where a matrix is in a checkpoint, and which third of it; None: all of it.
_PLACES = {
    "W_Q": ("attention.qkv.weight", 0),
    "W_K": ("attention.qkv.weight", 1),
    "W_V": ("attention.qkv.weight", 2),
    "W_O": ("attention.out.weight", None),
    "W_in": ("mlp_in.weight", None),
    "W_out": ("mlp_out.weight", None),
}
# What writes to the residual stream, of which LayerNorm discards the mean over d_model.
_WRITING = ("W_O", "W_out")


def own_matrices(weights: Mapping[str, np.ndarray], layers: int) -> Iterator[dict[str, np.ndarray]]:
    """The weight matrices of each layer of a model of the study's kind, [out, in].

    Args:
        weights: of one model, by name.
        layers: number of layers.
    """
    for layer in range(layers):
        found = {}
        for matrix, (name, third) in _PLACES.items():
            if (values := weights.get(f"blocks.{layer}.{name}")) is not None:
                found[matrix] = values if third is None else np.split(values, 3)[third]
        yield found


def matrix_norms(layers: Iterable[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Frobenius norms of every layer's weight matrices, biases left out.

    W_O and W_out are first taken less their mean over d_model, the axis they write to.

    Args:
        layers: the matrices of each layer by name, [out, in].

    Returns:
        By matrix, [layer], float64; attention-only models have no W_in and W_out.
    """
    norms: dict[str, list[float]] = {}
    for matrices in layers:
        for matrix, given in matrices.items():
            values = np.asarray(given, dtype=np.float64)
            if matrix in _WRITING:
                values = values - values.mean(axis=0)
            norms.setdefault(matrix, []).append(float(np.linalg.norm(values)))
    return {matrix: np.array(values) for matrix, values in norms.items()}


def weight_norms(refits: Sequence[str], paths: Sequence[str | Path]) -> pd.DataFrame:
    """Frobenius norms of the weight matrices of a condition's refits.

    Args:
        refits: names of the refits.
        paths: the checkpoint of each.

    Returns:
        refit, layer, matrix, norm.

    Raises:
        UserError: a checkpoint is of another refit.
    """
    rows = []
    for refit, path in zip(refits, paths, strict=True):
        header = read_header(path)
        if header["cell"].split("/")[-1] != refit:
            raise UserError(
                f"{path} was copied from another cell, {header['cell']}: delete it and run the "
                "same command again"
            )
        norms = matrix_norms(_matrices(path, header))
        for matrix, values in norms.items():
            rows += [(refit, layer, matrix, value) for layer, value in enumerate(values, start=1)]
    return pd.DataFrame(rows, columns=["refit", "layer", "matrix", "norm"])


def _matrices(path: str | Path, header: Mapping[str, Any]) -> Iterator[dict[str, np.ndarray]]:
    """The weight matrices of each layer of a checkpoint, whoever trained it."""
    if FOREIGN_CONFIG not in header:
        weights, _ = read_arrays(path)
        return own_matrices(weights, header["shape"]["layers"])
    # Slow to import, seldom needed.
    from .loading import load_model  # noqa: PLC0415
    from .sources.matrices import layer_matrices  # noqa: PLC0415

    model, _ = load_model(path)
    return layer_matrices(model)
