"""Tidy tables of ablation effects beside stability."""

import pandas as pd

from ..labels import ALL, CONDITION
from ..statistics import kendall_tau_b, pearson, slope

CORRELATIONS = {"pearson": pearson, "kendall": kendall_tau_b}


def heads_table(stability: pd.DataFrame, ablations: pd.DataFrame) -> pd.DataFrame:
    """Stability and ablation effects of every head of every refit, a row a method.

    Args:
        stability: CONDITION, anchor, layer, head, stability.
        ablations: CONDITION, refit and the columns of `ablation_table`.
    """
    stability = stability.rename(columns={"anchor": "refit"})
    keys = [*CONDITION, "refit", "layer", "head"]
    table = stability.merge(ablations, on=keys, how="left", validate="one_to_many")
    repeated = table.duplicated([*keys, "method"])
    if repeated.any():
        raise pd.errors.MergeError("a head is ablated twice by one method")
    return table


def stability_ablation_table(heads: pd.DataFrame) -> pd.DataFrame:
    """Per method and layer, the correlation over heads of stability with ablation effect.

    Args:
        heads: what `heads_table` returned.

    Returns:
        CONDITION, method, refit, layer, heads (how many), pearson, kendall (tau_b) between
        stability and delta loss, and mean_delta_loss (nats, mean over heads); refit "all" holds
        the means over refits.
    """
    rows = []
    for key, group in heads.groupby([*CONDITION, "method", "refit", "layer"], sort=False):
        x, y = group["stability"].to_numpy(), group["delta_loss"].to_numpy()
        correlations = [correlation(x, y) for correlation in CORRELATIONS.values()]
        rows.append((*key, len(group), *correlations, y.mean()))
    measures = [*CORRELATIONS, "mean_delta_loss"]
    columns = [*CONDITION, "method", "refit", "layer", "heads", *measures]
    return _with_means(pd.DataFrame(rows, columns=columns), ["layer", "heads"], measures)


def stability_ablation_trend_table(correlations: pd.DataFrame) -> pd.DataFrame:
    """How the correlation of stability with ablation effect changes over depth.

    With the relative depth d = (l - 1/2) / L of layer l of L. Layers whose correlation does not
    exist are left out.

    Args:
        correlations: what `stability_ablation_table` returned.

    Returns:
        CONDITION, method, refit, correlation (pearson or kendall), slope (least squares, on d),
        deep_mean (over layers with d > 1/2); refit "all" holds the means over refits.
    """
    refits = correlations[correlations["refit"] != ALL]
    rows = []
    for key, group in refits.groupby([*CONDITION, "method", "refit"], sort=False):
        depth = (group["layer"].to_numpy() - 0.5) / group["layer"].max()
        for name in CORRELATIONS:
            values = group[name].to_numpy()
            there = ~pd.isna(values)
            deep = values[there & (depth > 0.5)]
            mean = deep.mean() if len(deep) else float("nan")
            rows.append((*key, name, slope(depth[there], values[there]), mean))
    measures = ["slope", "deep_mean"]
    columns = [*CONDITION, "method", "refit", "correlation", *measures]
    return _with_means(pd.DataFrame(rows, columns=columns), ["correlation"], measures)


def _with_means(refits: pd.DataFrame, keys: list[str], measures: list[str]) -> pd.DataFrame:
    """Rows of single refits, after those of their means (refit "all")."""
    groups = refits.groupby([*CONDITION, "method", *keys], sort=False, as_index=False)
    overall = groups[measures].mean().assign(refit=ALL)
    return pd.concat([overall, refits], ignore_index=True)[refits.columns]
