"""Tidy tables of ablation effects beside stability."""

import numpy as np
import pandas as pd

from ..claims import dead_heads
from ..labels import ALL, CONDITION
from ..statistics import kendall_tau_b, pearson, slope

CORRELATIONS = {"pearson": pearson, "kendall": kendall_tau_b}


def heads_table(stability: pd.DataFrame, ablations: pd.DataFrame) -> pd.DataFrame:
    """Stability and ablation effects of every head of every refit, a row a method.

    Args:
        stability: CONDITION, anchor, layer, head, stability.
        ablations: CONDITION, refit and the columns of `ablation_table`.

    Returns:
        Both, and dead: whether the heads of the layer do next to nothing (`dead_heads_table`).
    """
    stability = stability.rename(columns={"anchor": "refit"})
    keys = [*CONDITION, "refit", "layer", "head"]
    table = stability.merge(ablations, on=keys, how="left", validate="one_to_many")
    repeated = table.duplicated([*keys, "method"])
    if repeated.any():
        raise pd.errors.MergeError("a head is ablated twice by one method")
    keys = [*CONDITION, "method", "layer"]
    dead = dead_heads_table(table)[[*keys, "dead"]]
    return table.merge(dead, on=keys, how="left", validate="many_to_one")


def dead_heads_table(heads: pd.DataFrame) -> pd.DataFrame:
    """Layers whose heads do next to nothing (docs/statistics.md, "Claims", 4).

    Args:
        heads: CONDITION, method, refit, layer, head, delta_loss.

    Returns:
        CONDITION, method, layer, mean_delta_loss (nats, over heads and refits), reference (the
        same at weight decay 0), dead (all heads of the layer or none; empty where the study has
        no weight decay 0).
    """
    arms = {key: _delta_loss(rows) for key, rows in heads.groupby([*CONDITION, "method"])}
    tables = []
    for (architecture, decay, method), effects in arms.items():
        reference = arms.get((architecture, "0", method))
        known = reference is not None
        dead = dead_heads(effects, reference) if known else np.full(effects.shape[1], None)
        table = pd.DataFrame(
            {
                "architecture": architecture,
                "weight_decay": decay,
                "method": method,
                "layer": np.arange(1, effects.shape[1] + 1),
                "mean_delta_loss": effects.mean(axis=(0, 2)),
                "reference": reference.mean(axis=(0, 2)) if known else np.nan,
                "dead": dead,
            }
        )
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _delta_loss(rows: pd.DataFrame) -> np.ndarray:
    """[refit, layer, head]; NaN where an effect is missing."""
    wide = rows.pivot(index=["refit", "layer"], columns="head", values="delta_loss")
    return wide.to_numpy().reshape(rows["refit"].nunique(), rows["layer"].nunique(), -1)


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
