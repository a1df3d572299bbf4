"""From the caches of a condition's refits to adjusted stability (docs/statistics.md), streamed."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from . import adjusted
from .head_cka import head_cka
from .refit_caches import open_refits
from .similarity import (
    commonness,
    pairwise_stability,
    pooled,
    prompt_groups,
)

# Pattern entries of one layer's heads held at once, and of a whole layer that is kept in memory:
# the null reads every prompt five times.
SLAB_ENTRIES = 2**22
LAYER_ENTRIES = 2**25
# What the config may leave out; the raw measure and its null are always there.
OPTIONAL = ("split", "one_to_one", "centred", "sink_free", "z_cka")
CONCATENATED = "z_cka_of_layer"

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
        within: what `conditions.condition_similarity` calls so.
        prompts_in_group: [group].
        measures: which of OPTIONAL to compute.

    Returns:
        `pairs`: k_l of every pair of refits, once, by measure (refit_a, refit_b, layer, measure,
        stability); measures are raw, shuffled (the null), excess, those chosen, and of z_cka
        also the CKA of the layer's concatenated z, z_cka_of_layer;
        `without_prompts`: the mean over pairs without each group of prompts, where prompts can be
        left out, and distinctness likewise (layer, measure, group, stability);
        `matches`: m of every head in every other refit (anchor, refit, layer, head,
        raw, shuffled);
        `heads`: of every head of every refit, over the other refits (refit, layer, head, raw,
        shuffled, excess, bos_mass).
        What cannot be had is empty: a null of one prompt, a split of one, CKA of fewer than 4
        positions.

    Raises:
        UserError, DamagedFile: caches are damaged or do not belong together.
    """
    names = ["pattern", "z"] if "z_cka" in measures else ["pattern"]
    caches = open_refits(refits, paths, names)
    tables: dict[str, list[pd.DataFrame]] = {}
    for layer in range(caches[0].sizes["layer"]):
        found = _layer(caches, within.isel(layer=layer).values, prompts_in_group, measures, layer)
        for name, part in _label(found, np.array(refits), layer + 1).items():
            tables.setdefault(name, []).append(part)
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}


class _Layer:
    """What is found of one layer.

    Attributes:
        pairs: k_l by measure, [refit, refit].
        without: its mean over pairs without each group, by measure, [group].
        match: m of the raw measure and the null, [anchor, refit, head].
        bos_mass: [refit, head].
    """

    def __init__(self) -> None:
        self.pairs: dict[str, np.ndarray] = {}
        self.without: dict[str, np.ndarray] = {}
        self.match: dict[str, np.ndarray] = {}
        self.bos_mass = np.empty(0)


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
    lengths = caches[0]["prompt_length"].values
    entries = lengths * (lengths + 1) // 2
    read = _reader(caches, layer, entries)
    groups = prompt_groups(len(entries))

    def grouped(slabs: Iterator[adjusted.Slab]) -> np.ndarray:
        cosines, _ = adjusted.grouped_mean_cosine(slabs, groups)
        return cosines.reshape(within.shape)

    def note(name: str, match: Match, cosines: np.ndarray) -> None:
        found.pairs[name] = pairwise_stability(match(cosines, counts))
        found.without[name] = _without(lambda c, n: _stability(match, c, n), cosines, counts)

    found.match["raw"] = adjusted.matched_best(within, counts)
    note("raw", adjusted.matched_best, within)
    _null(found, read, entries, groups, within.shape)
    for name, values in (("pairs", found.pairs), ("without", found.without)):
        getattr(found, name)["excess"] = values["raw"] - values["shuffled"]
    if "split" in measures:
        enough = len(counts) > 1
        note("split", adjusted.matched_split if enough else _unknown, within)
    if "one_to_one" in measures:
        note("one_to_one", adjusted.matched_one_to_one, within)
    if "centred" in measures:
        centred = grouped(adjusted.centred(_slabs(read, entries)))
        note("centred", adjusted.matched_best, centred)
    if "sink_free" in measures:
        note("sink_free", adjusted.matched_best, grouped(adjusted.sink_free(_slabs(read, entries))))
    if "z_cka" in measures:
        _cka(found, caches, layer, refits)
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


def _unknown(cosines: np.ndarray, counts: np.ndarray) -> np.ndarray:
    del counts
    return np.full((cosines.shape[1], cosines.shape[1], cosines.shape[2]), np.nan)


def _without(
    statistic: Callable[[np.ndarray, np.ndarray], float], cosines: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """A statistic without each group of prompts, [group]; NaN where nothing is left."""
    if len(counts) < 2:
        return np.full(len(counts), np.nan)

    def guarded(c: np.ndarray, n: np.ndarray) -> float:
        try:
            return statistic(c, n)
        except ValueError:  # one half of a split has no prompt left
            return np.nan

    return adjusted.without_prompts(guarded, cosines, counts)


def _null(
    found: _Layer, read: Read, entries: np.ndarray, groups: np.ndarray, shape: tuple[int, ...]
) -> None:
    """The prompt-shuffled null, the mean over shifts."""
    refits, heads = shape[1:3]
    if len(entries) < 2:
        found.match["shuffled"] = np.full((refits, refits, heads), np.nan)
        found.pairs["shuffled"] = np.full((refits, refits), np.nan)
        found.without["shuffled"] = np.full(shape[0], np.nan)
        return
    at_once = max(1, SLAB_ENTRIES // int(refits * heads * entries.max()))
    matches, without = [], []
    for shift in adjusted.null_shifts(len(entries)):
        cosines, counts = adjusted.shuffled_mean_cosine(read, entries, int(shift), groups, at_once)
        cosines = cosines.reshape(shape)
        matches.append(adjusted.matched_best(cosines, counts))
        without.append(
            _without(lambda c, n: _stability(adjusted.matched_best, c, n), cosines, counts)
        )
    found.match["shuffled"] = np.mean(matches, axis=0)
    found.pairs["shuffled"] = pairwise_stability(found.match["shuffled"])
    found.without["shuffled"] = np.mean(without, axis=0)


def _cka(found: _Layer, caches: Sequence[xr.Dataset], layer: int, refits: int) -> None:
    """CKA of what heads write, and of what all heads of the layer write together."""
    found.pairs["z_cka"] = found.pairs[CONCATENATED] = np.full((refits, refits), np.nan)
    if caches[0].sizes["position"] < 4:
        return

    def z(refit: int) -> np.ndarray:
        return caches[refit]["z"].isel(layer=layer).values

    def together(refit: int) -> np.ndarray:
        heads = z(refit)
        return heads.transpose(1, 0, 2).reshape(1, heads.shape[1], -1)

    cosines = head_cka(z, refits)
    one = np.array([1])
    found.pairs["z_cka"] = pairwise_stability(adjusted.matched_best(cosines[None], one))
    found.pairs[CONCATENATED] = head_cka(together, refits)[:, 0, :, 0]


def _reader(caches: Sequence[xr.Dataset], layer: int, entries: np.ndarray) -> Read:
    """read(first, last): one layer's patterns of prompts first to last - 1, [row, entry]."""
    starts = np.append(0, np.cumsum(entries))

    def columns(first: int, last: int) -> np.ndarray:
        chosen = slice(int(starts[first]), int(starts[last]))
        parts = [cache["pattern"].isel(layer=layer, entry=chosen).values for cache in caches]
        return np.concatenate(parts)

    if len(caches) * caches[0].sizes["head"] * int(starts[-1]) > LAYER_ENTRIES:
        return columns
    whole = columns(0, len(entries))
    return lambda first, last: whole[:, starts[first] : starts[last]]


def _slabs(read: Read, entries: np.ndarray) -> Iterator[adjusted.Slab]:
    """All prompts in order, a few whole ones at a time."""
    rows = len(read(0, 1))
    size = max(1, SLAB_ENTRIES // int(rows * entries.max()))
    for first in range(0, len(entries), size):
        last = min(first + size, len(entries))
        yield read(first, last), entries[first:last]


def _label(found: _Layer, names: np.ndarray, layer: int) -> dict[str, pd.DataFrame]:
    """Tables of one layer."""
    one, other = np.triu_indices(len(names), 1)
    pairs = [
        pd.DataFrame(
            {
                "refit_a": names[one],
                "refit_b": names[other],
                "layer": layer,
                "measure": measure,
                "stability": values[one, other],
            }
        )
        for measure, values in found.pairs.items()
    ]
    without = [
        pd.DataFrame(
            {"layer": layer, "measure": measure, "group": np.arange(1, len(v) + 1), "stability": v}
        )
        for measure, v in found.without.items()
    ]
    anchor, refit = np.nonzero(~np.eye(len(names), dtype=bool))
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
    others = ~np.eye(len(names), dtype=bool)
    by_head = {
        name: match.mean(axis=1, where=others[..., None]).ravel()
        for name, match in found.match.items()
    }
    table = pd.DataFrame(
        {
            "refit": names.repeat(heads),
            "layer": layer,
            "head": np.tile(numbers, len(names)),
            **by_head,
            "excess": by_head["raw"] - by_head["shuffled"],
            "bos_mass": found.bos_mass.ravel(),
        }
    )
    return {
        "pairs": pd.concat(pairs, ignore_index=True),
        "without_prompts": pd.concat(without, ignore_index=True),
        "matches": matches,
        "heads": table,
    }
