"""Sizes of a layer's weight matrices (docs/experiments.md, "Weight norms")."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import xarray as xr

from ..models.interface import LanguageModel

# Matrices that write to the residual stream, whose mean over d_model LayerNorm discards.
_WRITING = ("W_O", "W_out")


def weight_matrices(model: LanguageModel) -> Iterator[dict[str, np.ndarray]]:
    """The weight matrices of each layer of a model by name, [out, in]; see `interface.Layer`."""
    for block in model.blocks:
        yield {name: matrix.numpy(force=True) for name, matrix in block.matrices().items()}


def matrix_norms(layers: Iterable[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Frobenius norms of every layer's weight matrices, without biases.

    The mean over d_model, the axis they write to, is first subtracted from W_O and W_out.

    Returns:
        By matrix, [layer], float64; attention-only models have no W_in and W_out.
    """
    norms: dict[str, list[float]] = {}
    for matrices in layers:
        for matrix, given in matrices.items():
            values = np.asarray(given, dtype=np.float64)
            if matrix in _WRITING:
                values = values - values.mean(axis=0)
            # Not by BLAS, whose last bits depend on the number of threads.
            norms.setdefault(matrix, []).append(float(np.sqrt(np.sum(np.square(values)))))
    return {matrix: np.array(values) for matrix, values in norms.items()}


def weight_norm(layers: Iterable[Mapping[str, np.ndarray]]) -> xr.DataArray:
    """`matrix_norms` of a model as a variable of its cache.

    Returns:
        (layer, matrix), float64, no units; the attribute `matrix` names the matrices in order
        (Zarr has no standard way to store a coordinate of strings).
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
