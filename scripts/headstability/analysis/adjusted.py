"""Adjusted stability from the caches of a condition's refits (docs/statistics.md), streamed."""

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
    """Adjusted stability of a condition, by layer.

    Args:
        refits: names of the refits.
        paths: the cache of each.
        within: the variable of that name of `conditions.condition_similarity`.
        prompts_in_group: [group].
        measures: which of `measures.MEASURES` to compute; the raw one and its null are always
            included.

    Returns:
        `pairs`: k_l of every pair of refits, once, by measure (refit_a, refit_b, layer, measure,
        stability); measures are raw, shuffled (the null), excess and those chosen; measures of what
        heads write also give that of the layer's concatenated z, <measure>_of_layer;
        `without_prompts`: the mean over pairs without each group of prompts, where prompts can be
        left out, and that of distinctness (layer, measure, group, stability);
        `matches`: m of every head in every other refit (anchor, refit, layer, head,
        raw, shuffled);
        `heads`: of every head of every refit, over the other refits (refit, layer, head, raw,
        shuffled, excess, bos_mass).
        Undefined values are empty: a null or a split of one prompt, CKA of fewer than 4
        positions.

    Raises:
        UserError, DamagedFile: caches are damaged or do not belong together.
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
    """The results for one layer.

    Attributes:
        pairs: k_l by measure, [refit, refit].
        without: its mean over pairs without each group, by measure, [group].
        match: m of the raw measure and the null, [anchor, refit, head].
        bos_mass: [refit, head].
    """

    pairs: dict[str, np.ndarray] = field(default_factory=dict)
    without: dict[str, np.ndarray] = field(default_factory=dict)
    match: dict[str, np.ndarray] = field(default_factory=dict)
    bos_mass: np.ndarray | None = None


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
    """A statistic without each group of prompts, [group]; NaN where nothing is left."""

    def guarded(c: np.ndarray, n: np.ndarray) -> float:
        try:
            return statistic(c, n)
        except NotDefined:  # no prompt is left, or none in one half of a split
            return np.nan

    return adjusted.without_prompts(guarded, cosines, counts)


def _null(
    found: _Layer, read: Read, entries: np.ndarray, groups: np.ndarray, shape: tuple[int, ...]
) -> None:
    """The prompt-shuffled null, the mean over shifts; NaN with one prompt."""
    refits, heads = shape[1:3]
    found.match["shuffled"] = np.full((refits, refits, heads), np.nan)
    found.without["shuffled"] = np.full(shape[0], np.nan)
    if len(entries) > 1:
        at_once = max(1, ADJUSTED_SLAB_ENTRIES // int(refits * heads * entries.max()))
        best = adjusted.matched_best
        matches, without = [], []
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
    """Similarity of what heads write, and of what all heads of the layer write together."""
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
    """read(first, last): one layer's patterns of prompts first to last - 1, [row, entry]."""
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
    """All prompts in order, a few whole ones at a time."""
    rows = len(read(0, 1))
    size = max(1, ADJUSTED_SLAB_ENTRIES // int(rows * entries.max()))
    for first in range(0, len(entries), size):
        last = min(first + size, len(entries))
        yield read(first, last), entries[first:last]


def _label(found: _Layer, names: np.ndarray, layer: int) -> dict[str, pd.DataFrame]:
    """Tables of one layer."""
    one, other = np.triu_indices(len(names), 1)
    ends = {"refit_a": names[one], "refit_b": names[other], "layer": layer}
    pairs = [
        pd.DataFrame({**ends, "measure": measure, "stability": values[one, other]})
        for measure, values in found.pairs.items()
    ]
    without = [
        pd.DataFrame(
            {"layer": layer, "measure": measure, "group": np.arange(1, len(v) + 1), "stability": v}
        )
        for measure, v in found.without.items()
    ]
    others = ~np.eye(len(names), dtype=bool)
    anchor, refit = np.nonzero(others)
    heads = found.bos_mass.shape[1]
    numbers = np.arange(1, heads + 1)
    matches = pd.DataFrame(
        {
            "anchor": names[anchor].repeat(heads),
            "refit": names[refit].repeat(heads),
            "layer": layer,
            "head": np.tile(numbers, len(anchor)),
            **{name: m[anchor, refit].ravel() for name, m in found.match.items()},
        }
    )
    by_head = {
        name: match.mean(axis=1, where=others[..., None]).ravel()
        for name, match in found.match.items()
    }
    by_head["excess"] = by_head["raw"] - by_head["shuffled"]
    of_heads = pd.DataFrame(
        {
            "refit": names.repeat(heads),
            "layer": layer,
            "head": np.tile(numbers, len(names)),
            **by_head,
            "bos_mass": found.bos_mass.ravel(),
        }
    )
    tables = {"pairs": pd.concat(pairs), "without_prompts": pd.concat(without)}
    return tables | {"matches": matches, "heads": of_heads}
