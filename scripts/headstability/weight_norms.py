"""Sizes of a layer's weight matrices (docs/experiments.md, "Weight norms")."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import xarray as xr

from .model import Transformer
from .traced import TracedModel

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


def weight_matrices(model: TracedModel) -> Iterable[Mapping[str, np.ndarray]]:
    """The weight matrices of each layer of a model by name, [out, in], whoever trained it."""
    if isinstance(model, Transformer):
        weights = {name: value.numpy(force=True) for name, value in model.state_dict().items()}
        return own_matrices(weights, model.shape.layers)
    from .sources.matrices import layer_matrices  # noqa: PLC0415 - slow to import, seldom needed

    return layer_matrices(model)


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
            # Not by BLAS, whose last bits depend on how many threads it is given.
            norms.setdefault(matrix, []).append(float(np.sqrt(np.sum(np.square(values)))))
    return {matrix: np.array(values) for matrix, values in norms.items()}


def weight_norm(layers: Iterable[Mapping[str, np.ndarray]]) -> xr.DataArray:
    """`matrix_norms` of a model as a variable of its cache.

    Args:
        layers: the matrices of each layer by name, [out, in].

    Returns:
        (layer, matrix), float64, no units; the attribute `matrix` names the matrices in order
        (Zarr has no settled way to store a coordinate of texts).
    """
    norms = matrix_norms(layers)
    attributes = {
        "long_name": "Frobenius norm of weights; of what writes to the stream, mean-centred",
        "units": "1",
        "matrix": list(norms),
    }
    return xr.DataArray(
        np.column_stack(list(norms.values())), dims=("layer", "matrix"), attrs=attributes
    )
