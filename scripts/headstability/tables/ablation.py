"""Tidy tables of ablation effects beside stability."""

import pandas as pd

from ..labels import ALL, CONDITION
from ..statistics import kendall_tau_b, pearson


def heads_table(stability: pd.DataFrame, ablations: pd.DataFrame) -> pd.DataFrame:
    """Stability and ablation effects of every head of every refit, side by side.

    Args:
        stability: CONDITION, anchor, layer, head, stability.
        ablations: CONDITION, refit, layer, head and the columns of `ablation_table`.
    """
    stability = stability.rename(columns={"anchor": "refit"})
    keys = [*CONDITION, "refit", "layer", "head"]
    return stability.merge(ablations, on=keys, how="left", validate="one_to_one")


def stability_ablation_table(heads: pd.DataFrame) -> pd.DataFrame:
    """Per layer, the correlation over heads of stability with ablation effect.

    Args:
        heads: what `heads_table` returned.

    Returns:
        CONDITION, refit, layer, pearson, kendall (tau_b) between stability and delta loss, and
        mean_delta_loss (nats, mean over heads); refit "all" holds the means over refits.
    """
    rows = []
    for key, group in heads.groupby([*CONDITION, "refit", "layer"], sort=False):
        x, y = group["stability"].to_numpy(), group["delta_loss"].to_numpy()
        rows.append((*key, pearson(x, y), kendall_tau_b(x, y), y.mean()))
    measures = ["pearson", "kendall", "mean_delta_loss"]
    refits = pd.DataFrame(rows, columns=[*CONDITION, "refit", "layer", *measures])
    overall = refits.groupby([*CONDITION, "layer"], sort=False, as_index=False)[measures].mean()
    overall["refit"] = ALL
    return pd.concat([overall, refits], ignore_index=True)[refits.columns]
