"""Tidy table of adjusted measures by layer, with intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..conventions import CONDITION
from ..measures.adjusted import normalised_excess
from ..measures.recurrence import combined
from ..measures.registry import MEASURES
from ..measures.uncertainty import Estimate, Replicated, over_pairs
from .replicates import (
    by_condition,
    layer_replicates,
    pair_matrices,
    rows_of,
    shared_replicates,
)

# In the order of the table, before the other measures; one that was not computed is left out.
FIRST = ("raw", "cut", "untrained", "shuffled", "excess", "normalised_excess")
CROSSED = "refits cross init and data seeds and are not independent: no interval"
FEW = "{} refits: an interval needs at least 3"
UNDEFINED = "not defined on these prompts"


def adjusted_table(
    pairs: pd.DataFrame,
    without_prompts: pd.DataFrame,
    shared: pd.DataFrame,
    untrained: pd.DataFrame | None,
    seeds: Mapping[str, Sequence[int]],
    crossed: bool,
) -> pd.DataFrame:
    """Raw stability, its references and the adjusted measures of every condition and layer.

    Args:
        pairs: CONDITION and the pairs of `analysis.adjusted.adjusted_tables`.
        without_prompts: CONDITION and the values without each group of prompts.
        shared: CONDITION and the table of that name of `analysis.adjusted.adjusted_tables`.
        untrained: of step 0, by architecture: architecture, refit_a, refit_b, layer, stability;
            None: no such weights are kept.
        seeds: init seed and data seed of every refit.
        crossed: whether refits cross init and data seeds, which leaves no interval.

    Returns:
        CONDITION, layer, measure, value, se_refit, se_prompt, low, high (95 %; empty where there
        is none), refits, reason (why something is empty). Measure `untrained` is the same for
        every weight decay, because initial weights are equal; `centred_chance` is the centred
        measure of the same heads dealt at random into refits.
    """
    # By seed, as everywhere: by name, seed10 would come before seed2.
    refits = {name: seeds[name][0] for name in sorted(seeds, key=seeds.__getitem__)}
    names, parts = list(refits), []
    for condition, rows in by_condition(pairs):
        architecture = condition["architecture"]
        left = rows_of(without_prompts, **condition)
        measured = rows["measure"].unique()
        found = {name: layer_replicates(rows, left, name, names) for name in measured}
        found["normalised_excess"] = combined(normalised_excess, found["raw"], found["shuffled"])
        if untrained is not None:
            step0 = untrained[untrained["architecture"] == architecture]
            found["untrained"] = _untrained(step0, refits)
        if "centred" in found:
            dealt = shared_replicates(rows_of(shared, **condition, measure="centred"), names)
            found["centred_chance"] = dealt["centred", "S0"]
        for name in (*FIRST, *MEASURES, "centred_chance"):
            if name in found:
                table = estimate_rows(found[name].estimate(), crossed)
                parts.append(table.assign(**condition, measure=name, layer=table.index + 1))
    columns = ["value", "se_refit", "se_prompt", "low", "high", "refits", "reason"]
    return pd.concat(parts, ignore_index=True)[[*CONDITION, "layer", "measure", *columns]]


def _untrained(pairs: pd.DataFrame, refits: Mapping[str, int]) -> Replicated:
    """S at step 0, of pairs whose weights did not start equal."""
    names = list(refits)
    seeds = np.array(list(refits.values()))
    matrices = pair_matrices(pairs, "stability", names)
    equal = seeds[:, None] == seeds
    if np.array_equal(equal, np.eye(len(names), dtype=bool)):
        return over_pairs(matrices)
    value = np.array([layer[~equal].mean() if not equal.all() else np.nan for layer in matrices])
    return Replicated(value, np.full((len(value), len(names)), np.nan), np.empty((len(value), 0)))


def estimate_rows(estimate: Estimate, crossed: bool) -> pd.DataFrame:
    """An estimate [row] as value, se_refit, se_prompt, low, high, refits and reason."""
    low, high = estimate.interval()
    table = pd.DataFrame(
        {
            "value": estimate.value,
            "se_refit": estimate.se_refit,
            "se_prompt": estimate.se_prompt,
            "low": low,
            "high": high,
        }
    )
    if crossed:
        table[["se_refit", "low", "high"]] = np.nan
    few = FEW.format(estimate.sample) if estimate.sample < 3 else None
    reason = pd.Series(CROSSED if crossed else few, index=table.index, dtype=object)
    reason = reason.where(table["value"].notna(), UNDEFINED)
    return table.assign(refits=estimate.sample, reason=reason)
