"""Similarities of a condition's heads, from its refits' caches, a few prompts at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..conventions import triangle_entries
from ..errors import DamagedFile
from ..measures.similarity import prompt_groups, similarities
from ..storage.stores import open_cache, verify_cache
from .blocks import SLAB_ENTRIES
from .refit_caches import open_refits

_HEADS = ("refit", "head")
_OTHERS = ("other_refit", "other_head")


def pattern_slabs(caches: Sequence[xr.Dataset]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Patterns of all layers and refits from open caches, a few whole prompts at a time.

    Yields (rows [layer, refit x head, entry], entries [prompt]).
    """
    entries = triangle_entries(caches[0]["prompt_length"].values)
    layers, heads = caches[0].sizes["layer"], caches[0].sizes["head"]
    rows = len(caches) * heads
    starts = np.append(0, np.cumsum(entries))
    first = 0
    while first < len(entries):
        room = starts[first] + SLAB_ENTRIES // (layers * rows)
        last = max(first + 1, int(np.searchsorted(starts, room, side="right")) - 1)
        columns = slice(int(starts[first]), int(starts[last]))
        slab = np.empty((layers, rows, columns.stop - columns.start), dtype=np.float32)
        for index, cache in enumerate(caches):
            part = cache["pattern"].isel(entry=columns).values
            slab[:, index * heads : (index + 1) * heads] = part
        yield slab, entries[first:last]
        first = last


def condition_similarity(
    refits: Sequence[str], paths: Sequence[str | Path]
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Mean cosines of all heads of a condition, from the cache of each refit.

    Returns:
        A float32 dataset, and its provenance: condition, step, prompts, refits, their weights.
        `within` (layer, group, refit, head, other_refit, other_head): cosines of heads of one
        layer, averaged over each group of prompts;
        `across` (layer, refit, head, other_layer, other_refit, other_head): the same of all layers,
        averaged over all prompts;
        `prompts_in_group` (group): the number of prompts.
    """
    caches = open_refits(refits, paths, ["pattern"])
    slabs = pattern_slabs(caches)
    groups = prompt_groups(caches[0]["prompt_document"].values)
    within, across, prompts = similarities(slabs, groups)
    layers, heads = caches[0].sizes["layer"], caches[0].sizes["head"]
    sizes = (len(caches), heads)
    within = within.astype(np.float32).reshape(layers, -1, *sizes, *sizes)
    across = across.astype(np.float32).reshape(layers, *sizes, layers, *sizes)
    name = "cosine of heads of {}, mean over prompts"
    of_one = {"long_name": name.format("one layer"), "units": "1"}
    of_all = {"long_name": name.format("all layers"), "units": "1"}
    dataset = xr.Dataset(
        {
            "within": (("layer", "group", *_HEADS, *_OTHERS), within, of_one),
            "across": (("layer", *_HEADS, "other_layer", *_OTHERS), across, of_all),
        },
        coords={
            "layer": np.arange(1, layers + 1),
            "other_layer": np.arange(1, layers + 1),
            "head": np.arange(1, heads + 1),
            "other_head": np.arange(1, heads + 1),
            "group": np.arange(1, len(prompts) + 1),
            "prompts_in_group": ("group", prompts),
        },
    )
    first = caches[0].attrs
    provenance = {
        "condition": first["cell"].rsplit("/", 1)[0],
        "refits": list(refits),
        "weights_sha256": [cache.attrs["weights_sha256"] for cache in caches],
        **{name: first[name] for name in ("step", "prompts", "prompts_sha256")},
    }
    return dataset, provenance


def open_similarity(
    path: str | Path, condition: str, refits: Sequence[str], names: Sequence[str] = ()
) -> xr.Dataset:
    """Open the similarities of a condition, such as deep/wd0.1, and verify `names`, or all.

    Raises UserError if the file is missing, and DamagedFile if it has changed or is of other
    refits.
    """
    dataset = open_cache(path)
    verify_cache(path, dataset, list(names or map(str, dataset.data_vars)))
    found = (dataset.attrs["condition"], dataset.attrs["refits"])
    if found != (condition, list(refits)):
        raise DamagedFile(path, f"it holds {found[0]}, refits {', '.join(found[1])}")
    return dataset
