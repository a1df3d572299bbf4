"""Every measure of the similarity of heads, from the caches of refits (docs/statistics.md)."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..conventions import triangle_entries
from ..measures import adjusted
from ..measures.head_cka import shuffled_cka
from ..measures.registry import Measure, chosen_measures
from ..measures.similarity import NotDefined, pairwise_stability, pooled, prompt_groups
from .blocks import ADJUSTED_LAYER_ENTRIES, ADJUSTED_SLAB_ENTRIES
from .refit_caches import open_refits

_PAIR = ("refit", "head", "other_refit", "other_head")
# Dimensions after the layer, by variable of the null.
_NULL = {
    "stability": ("left_out", "refit", "other_refit"),
    "similarity": ("left_out", "refit", "other_refit"),
    "match": ("refit", "other_refit", "head"),
}


def condition_measures(
    refits: Sequence[str], paths: Sequence[str | Path], names: Sequence[str]
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Similarities of all heads of a condition by every measure, from the cache of each refit.

    Args:
        refits: names of the refits.
        paths: the cache of each.
        names: the measures of `measures.registry.MEASURES` that the config chooses.

    Returns:
        A dataset, float32, no units, with the layer first. By measure with a similarity of its own,
        over (refit, head, other_refit, other_head) after: group, for a mean over prompts; left_out,
        for others, 0 being all prompts and k those without group k; nothing, for what heads write.
        Of the latter also <measure>_of_layer (refit, other_refit), and its prompt-shuffled null,
        <measure>_of_layer_shuffled, unless position is taken out of what they write.
        The prompt-shuffled null, the mean over its shifts: `null_stability` and `null_similarity`
        (left_out, refit, other_refit), `null_match` (refit, other_refit, head); and where prompts
        differ in length, `cut_...`: the same of patterns as the null cuts them.
        `bos_mass` (refit, head). NaN where undefined.
        And what it was made from: condition, step, prompts, refits with their weights.

    Raises:
        UserError, DamagedFile: caches are damaged or do not belong together.
    """
    measures = chosen_measures(names)
    caches = open_refits(refits, paths, ["pattern", "z"])
    layers = []
    for layer in range(caches[0].sizes["layer"]):
        reader = LayerReader(caches, layer)
        found = compared(reader, measures) | _null(reader)
        slabs = adjusted.bos_mass(reader)
        found["bos_mass"] = (("refit", "head"), slabs.reshape(reader.shape[:2]))
        layers.append(found)
    return stacked(layers, caches[0], refits), provenance(refits, caches)


class LayerReader:
    """Patterns and z of one layer of several models on the same prompts.

    Iterating gives slabs: (rows [model x head, entry], entries [prompt]), all prompts in order, a
    few whole ones at a time; it may start again.

    Attributes:
        entries, lengths: pattern entries and positions of each prompt, [prompt].
        groups: the group of each prompt, from 0, [prompt].
        shape: models, heads, models, heads.
    """

    def __init__(self, caches: Sequence[xr.Dataset], layer: int) -> None:
        first = caches[0]
        self._caches, self._layer = caches, layer
        self.lengths = first["prompt_length"].values
        self.entries = triangle_entries(self.lengths)
        self.groups = prompt_groups(first["prompt_document"].values)
        self.shape = (len(caches), first.sizes["head"]) * 2
        self._starts = np.append(0, np.cumsum(self.entries))
        rows = len(caches) * first.sizes["head"]
        self.at_once = max(1, ADJUSTED_SLAB_ENTRIES // int(rows * self.entries.max()))
        fits = rows * int(self._starts[-1]) <= ADJUSTED_LAYER_ENTRIES
        self._whole = self._columns(0, len(self.entries)) if fits else None

    def _columns(self, first: int, last: int) -> np.ndarray:
        chosen = slice(int(self._starts[first]), int(self._starts[last]))
        kept = (cache["pattern"].isel(layer=self._layer, entry=chosen) for cache in self._caches)
        return np.concatenate([part.values for part in kept])

    def read(self, first: int, last: int) -> np.ndarray:
        """Patterns of prompts first to last - 1, [row, entry]."""
        if self._whole is None:
            return self._columns(first, last)
        return self._whole[:, self._starts[first] : self._starts[last]]

    def __iter__(self) -> Iterator[adjusted.Slab]:
        for first in range(0, len(self.entries), self.at_once):
            last = min(first + self.at_once, len(self.entries))
            yield self.read(first, last), self.entries[first:last]

    def z(self, model: int) -> np.ndarray:
        """Of one model, [head, position, d_head]."""
        return self._caches[model]["z"].isel(layer=self._layer).values


def compared(
    reader: LayerReader, measures: Mapping[str, Measure]
) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Similarities of one layer by measure: dimensions and values; NaN where undefined."""
    found = {}
    groups, shape = int(reader.groups.max()) + 1, reader.shape
    for name, measure in measures.items():
        if measure.raw_similarity:
            continue
        if measure.outputs:
            found |= _outputs(name, measure, reader)
            continue
        first, count = ("left_out", 1 + groups) if measure.left_out else ("group", groups)
        values = np.full((count, *shape), np.nan)
        try:
            slabs = measure.patterns(reader) if measure.patterns else reader
            values = (measure.left_out or measure.compare)(slabs, reader.groups)
        except NotDefined:
            pass
        found[name] = ((first, *_PAIR), values.reshape(-1, *shape))
    return found


def _outputs(
    name: str, measure: Measure, reader: LayerReader
) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Similarity of what heads write, of what the layer writes, and its null."""
    models = reader.shape[0]

    def z(model: int) -> np.ndarray:
        values = reader.z(model)
        return measure.written(values, reader.lengths) if measure.written else values

    def together(model: int) -> np.ndarray:
        heads = z(model)
        return heads.transpose(1, 0, 2).reshape(1, heads.shape[1], -1)

    pairs = ("refit", "other_refit")
    of_layer = null = np.full((models, models), np.nan)
    heads = np.full(reader.shape, np.nan)
    try:
        heads = measure.outputs(z, models)
        of_layer = measure.outputs(together, models)[:, 0, :, 0]
        if not measure.written:
            null = shuffled_cka(lambda model: together(model)[0], models, reader.lengths)
    except NotDefined:
        pass
    layer = f"{name}_of_layer"
    found = {name: (_PAIR, heads), layer: (pairs, of_layer)}
    # Without what prompts share by position, there is nothing for the null to show.
    return found if measure.written else found | {f"{layer}_shuffled": (pairs, null)}


def _null(reader: LayerReader) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """The prompt-shuffled null, and the raw measure on patterns cut like its own."""
    refits, heads = reader.shape[:2]
    groups = int(reader.groups.max()) + 1
    sizes = {"left_out": 1 + groups, "refit": refits, "other_refit": refits, "head": heads}
    found: dict[str, list[dict[str, np.ndarray]]] = {"null": []}
    shifts = adjusted.null_shifts(len(reader.entries)) if len(reader.entries) > 1 else []
    for shift in map(int, shifts):
        sets = (reader.read, reader.entries, shift, reader.groups, reader.at_once)
        null, cut = adjusted.shuffled_mean_cosine(*sets)
        found["null"].append(_reduced(null.reshape(-1, *reader.shape)))
        if cut is not None:
            found.setdefault("cut", []).append(_reduced(cut.reshape(-1, *reader.shape)))
    out = {}
    for kind, of_shifts in found.items():
        for name, dims in _NULL.items():
            empty = np.full([sizes[dim] for dim in dims], np.nan)
            values = [one[name] for one in of_shifts] or [empty]
            out[f"{kind}_{name}"] = (dims, np.mean(values, axis=0))
    return out


def _reduced(similarity: np.ndarray) -> dict[str, np.ndarray]:
    """What tables need of a similarity [left_out, refit, head, refit, head] of one shift."""
    matches = [adjusted.matched_best(one[None], np.ones(1)) for one in similarity]
    return {
        "stability": np.array([pairwise_stability(match) for match in matches]),
        "similarity": similarity.mean(axis=(2, 4)),
        "match": matches[0],
    }


def stacked(
    layers: Sequence[Mapping[str, tuple[tuple[str, ...], np.ndarray]]],
    cache: xr.Dataset,
    models: Sequence[str],
) -> xr.Dataset:
    """Layers put together; coordinates number heads and name models."""
    groups = prompt_groups(cache["prompt_document"].values)
    data = {
        name: (("layer", *dims), np.stack([one[name][1] for one in layers]).astype(np.float32))
        for name, (dims, _) in layers[0].items()
    }
    heads = np.arange(1, cache.sizes["head"] + 1)
    return xr.Dataset(
        data,
        coords={
            "layer": np.arange(1, len(layers) + 1),
            "head": heads,
            "other_head": heads,
            "prompts_in_group": ("group", np.bincount(groups)),
        },
        attrs={"models": list(models)},
    )


def provenance(refits: Sequence[str], caches: Sequence[xr.Dataset]) -> dict[str, Any]:
    """What similarities of a condition's refits were made from: attributes of their store."""
    first = caches[0].attrs
    return {
        "condition": first["cell"].rsplit("/", 1)[0],
        "refits": list(refits),
        "weights_sha256": [cache.attrs["weights_sha256"] for cache in caches],
        **{name: first[name] for name in ("step", "prompts", "prompts_sha256")},
    }


def versions(
    similarity: xr.DataArray, prompts_in_group: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cosines and counts as a match takes them: of all prompts, then without each group.

    The first dimension of a similarity of one layer says how: group, left_out, or another, in which
    case nothing is left out. `prompts_in_group` is [group].
    """
    values = similarity.values.astype(np.float64)
    one = np.ones(1)
    if similarity.dims[0] == "group":
        yield values, prompts_in_group
        for left in prompts_in_group * ~np.eye(len(prompts_in_group), dtype=bool):
            yield values, left
    elif similarity.dims[0] == "left_out":
        yield from ((version[None], one) for version in values)
    else:
        yield values[None], one


def defined(version: tuple[np.ndarray, np.ndarray]) -> np.ndarray | None:
    """The similarity of one of `versions`, over its prompts; None where it is not defined."""
    try:
        similarity = pooled(*version)
    except NotDefined:
        return None
    return None if np.isnan(similarity).any() else similarity
