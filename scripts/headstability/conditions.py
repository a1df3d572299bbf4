"""From the caches of a condition's refits to its similarities, streamed."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from .caches import open_cache, verify_cache
from .errors import DamagedFile
from .refit_caches import open_refits
from .similarity import similarities

# Pattern entries of all heads, layers and refits held at once: bounds memory whatever the number
# of refits and prompts (one prompt is the least that is read).
SLAB_ENTRIES = 2**25
_HEADS = ("refit", "head")
_OTHERS = ("other_refit", "other_head")


def pattern_slabs(caches: Sequence[xr.Dataset]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Patterns of all layers and refits, a few whole prompts at a time.

    Args:
        caches: open caches of all refits.

    Yields:
        (rows [layer, refit x head, entry], entries [prompt]).
    """
    lengths = caches[0]["prompt_length"].values
    entries = lengths * (lengths + 1) // 2
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
    """Mean cosines of all heads of a condition.

    Args:
        refits: names of the refits.
        paths: the cache of each.

    Returns:
        A dataset with
        `within` (layer, group, refit, head, other_refit, other_head): cosines of heads of one
        layer, averaged over each group of prompts;
        `across` (layer, refit, head, other_layer, other_refit, other_head): cosines of heads of
        all layers, averaged over all prompts;
        `prompts_in_group` (group): how many prompts a group has. float32, no units;
        and what it was made from: condition, step, prompts, refits with their weights.

    Raises:
        UserError: caches do not belong together (`open_refits`).
    """
    caches = open_refits(refits, paths, ["pattern"])
    found = similarities(pattern_slabs(caches), caches[0].sizes["prompt"])
    numbers = {name: np.arange(1, caches[0].sizes[name] + 1) for name in ("layer", "head")}
    sizes = (len(caches), len(numbers["head"]))
    layers = len(numbers["layer"])
    within = found.within.astype(np.float32).reshape(layers, -1, *sizes, *sizes)
    across = found.across.astype(np.float32).reshape(layers, *sizes, layers, *sizes)
    dataset = xr.Dataset(
        {
            "within": (
                ("layer", "group", *_HEADS, *_OTHERS),
                within,
                {"long_name": "cosine of heads of one layer, mean over prompts", "units": "1"},
            ),
            "across": (
                ("layer", *_HEADS, "other_layer", *_OTHERS),
                across,
                {"long_name": "cosine of heads of all layers, mean over prompts", "units": "1"},
            ),
        },
        coords={
            "layer": numbers["layer"],
            "other_layer": numbers["layer"],
            "head": numbers["head"],
            "other_head": numbers["head"],
            "group": np.arange(1, len(found.prompts) + 1),
            "prompts_in_group": ("group", found.prompts),
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


def open_similarity(path: str | Path, condition: str, refits: Sequence[str]) -> xr.Dataset:
    """Open and verify the similarities of a condition.

    Args:
        path: what was written of `condition_similarity`.
        condition: as in paths, such as deep/wd0.1.
        refits: names of its refits.

    Raises:
        UserError: the file is missing.
        DamagedFile: it is not as it was written, or is of other refits.
    """
    dataset = open_cache(path)
    verify_cache(path, dataset, ["within", "across"])
    found = (dataset.attrs["condition"], dataset.attrs["refits"])
    if found != (condition, list(refits)):
        raise DamagedFile(path, f"it holds {found[0]}, refits {', '.join(found[1])}")
    return dataset
