"""Tidy table of adjusted measures by layer, with intervals."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..adjusted import centred_chance, normalised_excess
from ..labels import CONDITION
from ..uncertainty import Estimate, Replicated, over_pairs
from .replicates import layer_replicates, pair_matrices

# In the order of the table; a measure that was not computed is left out.
REFERENCES = ("raw", "untrained", "shuffled")
MEASURES = ("excess", "normalised_excess", "split", "one_to_one", "centred", "sink_free", "z_cka")
CROSSED = "refits cross init and data seeds and are not independent: no interval"
FEW = "{} refits: an interval needs at least 3"
UNDEFINED = "not defined on these prompts"


def adjusted_table(
    pairs: pd.DataFrame,
    without_prompts: pd.DataFrame,
    untrained: pd.DataFrame | None,
    refits: Mapping[str, int],
    heads: Mapping[str, int],
    crossed: bool,
) -> pd.DataFrame:
    """Raw stability, its references and the adjusted measures of every condition and layer.

    Args:
        pairs: CONDITION and the pairs of `adjusted_conditions.adjusted_tables`.
        without_prompts: CONDITION and what is left without groups of prompts.
        untrained: of step 0, by architecture: architecture, refit_a, refit_b, layer, stability;
            None: no such weights are kept.
        refits: init seed of every refit, by name.
        heads: heads of a layer, by architecture.
        crossed: whether refits cross init and data seeds, which leaves no interval.

    Returns:
        CONDITION, layer, measure, value, se_refit, se_prompt, low, high (95 %; empty where there
        is none), refits, reason (why something is empty). Measure `untrained` is the same for
        every weight decay, because weights start equal; `centred_chance` is what unrelated heads
        have.
    """
    names, parts = list(refits), []
    for (architecture, decay), rows in pairs.groupby(CONDITION, sort=False):
        here = (without_prompts["architecture"] == architecture) & (
            without_prompts["weight_decay"] == decay
        )
        left = without_prompts[here]
        found = {
            name: layer_replicates(rows, left, name, names) for name in rows["measure"].unique()
        }
        found["normalised_excess"] = _normalised(found["raw"], found["shuffled"])
        if untrained is not None:
            step0 = untrained[untrained["architecture"] == architecture]
            found["untrained"] = _untrained(step0, refits)
        for name in (*REFERENCES, *MEASURES):
            if name in found:
                parts.append(_rows(architecture, decay, name, found[name].estimate(), crossed))
        if "centred" in found:
            chance = centred_chance(len(names), heads[architecture])
            parts.append(_constant(parts[-1], "centred_chance", chance))
    return pd.concat(parts, ignore_index=True)


def _normalised(raw: Replicated, null: Replicated) -> Replicated:
    """(S - N)/(1 - N) of the value and of every value that leaves something out."""
    pairs = zip(
        (raw.value, raw.refits, raw.prompts), (null.value, null.refits, null.prompts), strict=True
    )
    return Replicated(*(normalised_excess(one, other) for one, other in pairs))


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


def _rows(
    architecture: str, decay: str, measure: str, estimate: Estimate, crossed: bool
) -> pd.DataFrame:
    low, high = estimate.interval()
    table = pd.DataFrame(
        {
            "architecture": architecture,
            "weight_decay": decay,
            "layer": np.arange(1, len(estimate.value) + 1),
            "measure": measure,
            "value": estimate.value,
            "se_refit": estimate.se_refit,
            "se_prompt": estimate.se_prompt,
            "low": low,
            "high": high,
            "refits": estimate.sample,
        }
    )
    if crossed:
        table[["se_refit", "low", "high"]] = np.nan
    few = FEW.format(estimate.sample) if estimate.sample < 3 else None
    reason = pd.Series(CROSSED if crossed else few, index=table.index, dtype=object)
    return table.assign(reason=reason.where(table["value"].notna(), UNDEFINED))


def _constant(like: pd.DataFrame, measure: str, value: float) -> pd.DataFrame:
    """Rows of a number that is known, not estimated."""
    empty = dict.fromkeys(("se_refit", "se_prompt", "low", "high"), np.nan)
    return like.assign(measure=measure, value=value, reason=None, **empty)
