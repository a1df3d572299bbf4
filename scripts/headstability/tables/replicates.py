"""Arrays over refits from tables of conditions, with the values without each refit."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ..conventions import CONDITION
from ..measures.uncertainty import Replicated, over_pairs


def by_condition(table: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """Labels and rows of every condition, in the order of the table."""
    for key, part in table.groupby(CONDITION, sort=False):
        yield dict(zip(CONDITION, key, strict=True)), part


def rows_of(table: pd.DataFrame, **labels: object) -> pd.DataFrame:
    """The rows with these labels."""
    return table[(table[[*labels]] == [*labels.values()]).all(axis=1)]


def pair_matrices(pairs: pd.DataFrame, column: str, refits: Sequence[str]) -> np.ndarray:
    """A column of pairs of refits (refit_a, refit_b, layer) as symmetric matrices.

    A pair may stand in one order or in both. Shape [layer, refit, refit], NaN on the diagonal.
    """
    index = {name: place for place, name in enumerate(refits)}
    one, other = (pairs[name].map(index).to_numpy() for name in ("refit_a", "refit_b"))
    layer = pairs["layer"].to_numpy() - 1
    found = np.full((layer.max() + 1, len(refits), len(refits)), np.nan)
    found[layer, one, other] = found[layer, other, one] = pairs[column].to_numpy()
    return found


def layer_replicates(
    pairs: pd.DataFrame, without_prompts: pd.DataFrame, measure: str, refits: Sequence[str]
) -> Replicated:
    """A measure's mean over pairs, without each refit and each group of prompts, [layer].

    Tables are those of `analysis.adjusted.adjusted_tables`, of one condition.
    """
    chosen = pairs[pairs["measure"] == measure]
    found = over_pairs(pair_matrices(chosen, "stability", refits))
    return with_prompts(found, without_prompts, measure)


def with_prompts(found: Replicated, without_prompts: pd.DataFrame, measure: str) -> Replicated:
    """Add the values without each group of prompts, where the measure has them."""
    rows = without_prompts[without_prompts["measure"] == measure]
    if rows.empty:
        return found
    groups = rows.pivot(index="layer", columns="group", values="stability")
    return replace(found, prompts=groups.sort_index().to_numpy())


def shared_replicates(
    shared: pd.DataFrame, refits: Sequence[str]
) -> dict[tuple[str, str], Replicated]:
    """Statistics with all their leave-one-out values, [layer], by (measure, statistic).

    Args:
        shared: the table of that name of `analysis.adjusted.adjusted_tables`, of one condition.
        refits: their order.
    """
    layers, found = np.sort(shared["layer"].unique()), {}
    for key, rows in shared.groupby(["measure", "statistic"], sort=False):
        kinds = dict(iter(rows.fillna({"left_out": ""}).groupby("left_out")))
        whole = kinds[""].set_index("layer")["value"].reindex(layers).to_numpy()
        by_refit = kinds["refit"].pivot(index="layer", columns="unit", values="value")
        by_refit = by_refit.reindex(layers)[list(refits)].to_numpy()
        prompts = np.empty((len(layers), 0))
        if "group" in kinds:
            groups = kinds["group"].pivot(index="layer", columns="unit", values="value")
            groups = groups.reindex(layers)
            prompts = groups[sorted(groups.columns, key=int)].to_numpy()
        found[key] = Replicated(whole, by_refit, prompts)
    return found


def head_matrices(
    table: pd.DataFrame, columns: Sequence[str], value: str, refits: Sequence[str]
) -> np.ndarray:
    """Values of heads, [layer, refit, head], NaN where the table has no row.

    `columns` name the refits, such as anchor and refit: there is an axis of refits for each.
    """
    index = {name: place for place, name in enumerate(refits)}
    places = [table[name].map(index).to_numpy() for name in columns]
    layer, head = (table[name].to_numpy() - 1 for name in ("layer", "head"))
    found = np.full((layer.max() + 1, *[len(refits)] * len(columns), head.max() + 1), np.nan)
    found[layer, *places, head] = table[value].to_numpy()
    return found
