"""Patterns as caches pack them: lower triangles, row by row (docs/methods.md, "Cache").

Apart from the module that runs models, so that what only reads patterns need not load PyTorch.
"""

import numpy as np
import xarray as xr


def triangle_entries(length: int) -> int:
    """Entries of a pattern's lower triangle with its diagonal: T (T + 1) / 2."""
    return length * (length + 1) // 2


def pattern_of(cache: xr.Dataset, layer: int, head: int, prompt: int) -> xr.DataArray:
    """One head's full pattern on one prompt, from a cache.

    Args:
        cache: what `activations.activations` made or `caches.open_cache` opened.
        layer: numbered from 1.
        head: numbered from 1.
        prompt: numbered from 1.

    Returns:
        (query, key), T x T, lower triangular, rows sum to 1.
    """
    lengths = cache["prompt_length"].values
    starts = np.append(0, np.cumsum(triangle_entries(lengths)))
    entries = slice(starts[prompt - 1], starts[prompt])
    packed = cache["pattern"].sel(layer=layer, head=head).isel(entry=entries).values
    length = int(lengths[prompt - 1])
    full = np.zeros((length, length), dtype=packed.dtype)
    full[np.tril_indices(length)] = packed
    numbers = np.arange(1, length + 1)
    return xr.DataArray(full, {"query": numbers, "key": numbers}, ("query", "key"))
