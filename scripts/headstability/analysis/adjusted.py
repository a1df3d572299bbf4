"""Adjusted stability of a condition (docs/statistics.md), a few prompts at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from ..conventions import triangle_entries
from ..measures import adjusted
from ..measures.registry import MEASURES, Measure
from ..measures.similarity import NotDefined, commonness, pairwise_stability, pooled, prompt_groups
from .blocks import ADJUSTED_LAYER_ENTRIES, ADJUSTED_SLAB_ENTRIES
from .refit_caches import open_refits

Read = Callable[[int, int], np.ndarray]
# From (cosines [group, refit, head, refit, head], prompts [group]) to m [anchor, refit, head].
Match = Callable[[np.ndarray, np.ndarray], np.ndarray]


def adjusted_tables(
    refits: Sequence[str],
    paths: Sequence[str | Path],
    within: xr.DataArray,
    prompts_in_group: np.ndarray,
    measures: Sequence[str],
) -> dict[str, pd.DataFrame]:
    """Adjusted stability of a condition, by layer, from the `paths` of its refits' caches.

    `within` and `prompts_in_group` are variables of `similarities.condition_similarity`; `measures`
    chooses from `MEASURES`. The raw measure, the null (shuffled) and their difference (excess) are
    always included. Measures of what heads write also give that of the layer's concatenated z,
    <measure>_of_layer.

    Returns:
        `pairs`: k_l of every pair of refits (refit_a, refit_b, layer, measure, stability);
        `without_prompts`: its mean over pairs without each group of prompts, where prompts can be
        left out, and mean distinctness (layer, measure, group, stability);
        `matches`: m of every head in each other refit (anchor, refit, layer, head, raw, shuffled);
        `heads`: means over the other refits (refit, layer, head, raw, shuffled, excess, bos_mass).
        Undefined values are empty: null and split of one prompt, CKA of fewer than 4 positions.
    """
    written = any(MEASURES[name].outputs for name in measures)
    caches = open_refits(refits, paths, ["pattern", "z"] if written else ["pattern"])
    tables: dict[str, list[pd.DataFrame]] = {}
    for layer in range(caches[0].sizes["layer"]):
        found = _layer(caches, within.isel(layer=layer).values, prompts_in_group, measures, layer)
        for name, part in _label(found, np.array(refits), layer + 1).items():
            tables.setdefault(name, []).append(part)
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}


@dataclass
class _Layer:
    """The results for one layer."""

    # By measure: k_l [refit, refit]; its mean over pairs without each group of prompts [group]; of
    # the raw measure and the null m [anchor, refit, head].
    pairs: dict[str, np.ndarray] = field(default_factory=dict)
    without: dict[str, np.ndarray] = field(default_factory=dict)
    match: dict[str, np.ndarray] = field(default_factory=dict)
    bos_mass: np.ndarray | None = None  # [refit, head]


def _layer(
    caches: Sequence[xr.Dataset],
    within: np.ndarray,
    counts: np.ndarray,
    measures: Sequence[str],
    layer: int,
) -> _Layer:
    """Every measure of one layer; `within` is [group, refit, head, refit, head]."""
    found = _Layer()
    within = within.astype(np.float64)
    refits, heads = within.shape[1:3]
    entries = triangle_entries(caches[0]["prompt_length"].values)
    read = _reader(caches, layer, entries)
    groups = prompt_groups(len(entries))

    def note(name: str, match: Match, cosines: np.ndarray) -> None:
        try:
            found.pairs[name] = pairwise_stability(match(cosines, counts))
        except NotDefined:
            found.pairs[name] = np.full((refits, refits), np.nan)
        found.without[name] = _without(lambda c, n: _stability(match, c, n), cosines, counts)

    found.match["raw"] = adjusted.matched_best(within, counts)
    note("raw", adjusted.matched_best, within)
    _null(found, read, entries, groups, within.shape)
    for values in (found.pairs, found.without):
        values["excess"] = values["raw"] - values["shuffled"]
    for name, measure in MEASURES.items():
        if name not in measures:
            continue
        if measure.outputs:
            _outputs(found, name, measure, caches, layer)
        elif measure.raw_similarity:
            note(name, measure.match, within)
        else:
            slabs = _slabs(read, entries)
            slabs = measure.patterns(slabs) if measure.patterns else slabs
            note(name, measure.match, measure.compare(slabs, groups).reshape(within.shape))
    found.bos_mass = adjusted.bos_mass(_slabs(read, entries)).reshape(refits, heads)
    found.without["distinctness"] = _without(_distinctness, within, counts)
    return found


def _distinctness(cosines: np.ndarray, counts: np.ndarray) -> float:
    """Mean distinctness of a layer's heads, over all refits."""
    own = np.arange(cosines.shape[1])
    common, _ = commonness(pooled(cosines, counts)[own, :, own, :])
    return float(1 - common.mean())


def _stability(match: Match, cosines: np.ndarray, counts: np.ndarray) -> float:
    """S_l over all anchors: the mean over pairs of refits."""
    pairs = pairwise_stability(match(cosines, counts))
    return float(pairs[~np.eye(len(pairs), dtype=bool)].mean())


def _without(
    statistic: Callable[[np.ndarray, np.ndarray], float], cosines: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """A statistic without each group of prompts, [group]; NaN where it is not defined."""

    def guarded(c: np.ndarray, n: np.ndarray) -> float:
        try:
            return statistic(c, n)
        except NotDefined:  # no prompt is left, or none in one half of a split
            return np.nan

    return adjusted.without_prompts(guarded, cosines, counts)


def _null(
    found: _Layer, read: Read, entries: np.ndarray, groups: np.ndarray, shape: tuple[int, ...]
) -> None:
    """The prompt-shuffled null: the mean over shifts; NaN with one prompt."""
    refits, heads = shape[1:3]
    found.match["shuffled"] = np.full((refits, refits, heads), np.nan)
    found.without["shuffled"] = np.full(shape[0], np.nan)
    if len(entries) > 1:
        at_once = max(1, ADJUSTED_SLAB_ENTRIES // int(refits * heads * entries.max()))
        best, matches, without = adjusted.matched_best, [], []
        for shift in map(int, adjusted.null_shifts(len(entries))):
            cosines, counts = adjusted.shuffled_mean_cosine(read, entries, shift, groups, at_once)
            cosines = cosines.reshape(shape)
            matches.append(best(cosines, counts))
            without.append(_without(lambda c, n: _stability(best, c, n), cosines, counts))
        found.match["shuffled"] = np.mean(matches, axis=0)
        found.without["shuffled"] = np.mean(without, axis=0)
    found.pairs["shuffled"] = pairwise_stability(found.match["shuffled"])


def _outputs(
    found: _Layer, name: str, measure: Measure, caches: Sequence[xr.Dataset], layer: int
) -> None:
    """Similarity of what heads write, one by one and all heads of the layer together."""
    refits, one = len(caches), np.array([1])

    def z(refit: int) -> np.ndarray:
        return caches[refit]["z"].isel(layer=layer).values

    def together(refit: int) -> np.ndarray:
        heads = z(refit)
        return heads.transpose(1, 0, 2).reshape(1, heads.shape[1], -1)

    of_layer = f"{name}_of_layer"
    found.pairs[name] = found.pairs[of_layer] = np.full((refits, refits), np.nan)
    try:
        similarity = measure.outputs(z, refits)
        found.pairs[name] = pairwise_stability(measure.match(similarity[None], one))
        found.pairs[of_layer] = measure.outputs(together, refits)[:, 0, :, 0]
    except NotDefined:
        return


def _reader(caches: Sequence[xr.Dataset], layer: int, entries: np.ndarray) -> Read:
    """A function that reads one layer's patterns of prompts first to last - 1, [row, entry]."""
    starts = np.append(0, np.cumsum(entries))

    def columns(first: int, last: int) -> np.ndarray:
        chosen = slice(int(starts[first]), int(starts[last]))
        parts = [cache["pattern"].isel(layer=layer, entry=chosen).values for cache in caches]
        return np.concatenate(parts)

    if len(caches) * caches[0].sizes["head"] * int(starts[-1]) > ADJUSTED_LAYER_ENTRIES:
        return columns
    whole = columns(0, len(entries))
    return lambda first, last: whole[:, starts[first] : starts[last]]


def _slabs(read: Read, entries: np.ndarray) -> Iterator[adjusted.Slab]:
    """Patterns of all prompts in order, a few whole prompts at a time."""
    rows = len(read(0, 1))
    size = max(1, ADJUSTED_SLAB_ENTRIES // int(rows * entries.max()))
    for first in range(0, len(entries), size):
        last = min(first + size, len(entries))
        yield read(first, last), entries[first:last]


def _label(found: _Layer, names: np.ndarray, layer: int) -> dict[str, pd.DataFrame]:
    """The tables of one layer."""
    one, other = np.triu_indices(len(names), 1)
    pairs = pd.DataFrame({"refit_a": names[one], "refit_b": names[other], "layer": layer})
    ends = list(pairs)
    pairs = pairs.assign(**{name: values[one, other] for name, values in found.pairs.items()})
    pairs = pairs.melt(ends, var_name="measure", value_name="stability")
    without = pd.DataFrame(found.without)
    without = without.assign(layer=layer, group=without.index + 1)
    without = without.melt(["layer", "group"], var_name="measure", value_name="stability")
    others = ~np.eye(len(names), dtype=bool)
    anchor, refit = np.nonzero(others)
    count = found.bos_mass.shape[1]
    matches = pd.DataFrame({"anchor": names[anchor].repeat(count)})
    matches = matches.assign(refit=names[refit].repeat(count), layer=layer)
    heads = pd.DataFrame({"refit": names.repeat(count), "layer": layer})
    for table in (matches, heads):
        table["head"] = table.index % count + 1
    for name, match in found.match.items():
        matches[name] = match[anchor, refit].ravel()
        heads[name] = match.mean(axis=1, where=others[..., None]).ravel()
    heads["excess"] = heads["raw"] - heads["shuffled"]
    heads["bos_mass"] = found.bos_mass.ravel()
    without = without[["layer", "measure", "group", "stability"]]
    return {"pairs": pairs, "without_prompts": without, "matches": matches, "heads": heads}
