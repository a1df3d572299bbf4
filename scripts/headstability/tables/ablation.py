"""Tidy tables of ablation effects beside stability."""

import numpy as np
import pandas as pd

from ..conventions import ALL, CONDITION
from ..measures.claims import dead_heads
from ..measures.uncertainty import kendall_tau_b, pearson, slope
from .means import with_means

CORRELATIONS = {"pearson": pearson, "kendall": kendall_tau_b}


def heads_tables(stability: pd.DataFrame, ablations: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Stability and ablation effects of every head of every refit, and the layers of dead heads.

    The table `heads` has one row per head and method, with the columns of `stability` (CONDITION,
    anchor, layer, head, stability) and of `analysis.ablation.ablation_table`, and `dead` of
    `dead_heads_table`, which is the table `dead_heads`.
    """
    keys = [*CONDITION, "refit", "layer", "head"]
    stability = stability.rename(columns={"anchor": "refit"})
    table = stability.merge(ablations, on=keys, how="left", validate="one_to_many")
    if table.duplicated([*keys, "method"]).any():
        raise pd.errors.MergeError("a head is ablated twice by one method")
    dead = dead_heads_table(table)
    keys = [*CONDITION, "method", "layer"]
    heads = table.merge(dead[[*keys, "dead"]], on=keys, how="left", validate="many_to_one")
    return {"heads": heads, "dead_heads": dead}


def dead_heads_table(heads: pd.DataFrame) -> pd.DataFrame:
    """Layers whose heads do almost nothing (docs/statistics.md, "Claims", 4).

    Takes the column delta_loss by CONDITION, method, refit, layer and head. Returns, by CONDITION,
    method and layer, mean_delta_loss (nats, over heads and refits), reference (the same at weight
    decay 0) and dead (all heads of the layer or none; empty where the study has no weight decay 0).
    """
    arms = {key: _delta_loss(rows) for key, rows in heads.groupby([*CONDITION, "method"])}
    tables = []
    for (architecture, decay, method), effects in arms.items():
        usual = arms.get((architecture, "0", method))
        columns = {
            **dict(zip(CONDITION, (architecture, decay), strict=True)),
            "method": method,
            "layer": np.arange(1, effects.shape[1] + 1),
            "mean_delta_loss": effects.mean(axis=(0, 2)),
            "reference": np.nan if usual is None else usual.mean(axis=(0, 2)),
            "dead": None if usual is None else dead_heads(effects, usual),
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def _delta_loss(rows: pd.DataFrame) -> np.ndarray:
    """[refit, layer, head]; NaN where an effect is missing."""
    wide = rows.pivot(index=["refit", "layer"], columns="head", values="delta_loss")
    return wide.to_numpy().reshape(rows["refit"].nunique(), rows["layer"].nunique(), -1)


def stability_ablation_tables(heads: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """`stability_ablation_table` and its trend over depth, by name."""
    table = stability_ablation_table(heads)
    trend = stability_ablation_trend_table(table)
    return {"stability_ablation": table, "stability_ablation_trend": trend}


def stability_ablation_table(heads: pd.DataFrame) -> pd.DataFrame:
    """Correlation over heads of stability with ablation effect, by method, refit and layer.

    `heads` is the first of `heads_tables`. Columns: heads (how many), pearson and kendall (tau_b)
    between stability and delta loss, mean_delta_loss (nats, over heads). Refit "all" holds the
    means over refits.
    """
    rows = []
    for key, group in heads.groupby([*CONDITION, "method", "refit", "layer"], sort=False):
        x, y = group["stability"].to_numpy(), group["delta_loss"].to_numpy()
        correlations = [correlation(x, y) for correlation in CORRELATIONS.values()]
        rows.append((*key, len(group), *correlations, y.mean()))
    measures = [*CORRELATIONS, "mean_delta_loss"]
    columns = [*CONDITION, "method", "refit", "layer", "heads", *measures]
    return with_means(pd.DataFrame(rows, columns=columns), ["method", "layer", "heads"], measures)


def stability_ablation_trend_table(correlations: pd.DataFrame) -> pd.DataFrame:
    """How the correlations of `stability_ablation_table` change over depth.

    With the relative depth d = (l - 1/2) / L of layer l of L. Columns, by CONDITION, method, refit
    and correlation (pearson or kendall): slope (least squares, on d) and deep_mean (over layers
    with d > 1/2), both without layers that have no correlation. Refit "all" holds the means.
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
    table = pd.DataFrame(rows, columns=[*CONDITION, "method", "refit", "correlation", *measures])
    return with_means(table, ["method", "correlation"], measures)


def perplexity_table(texts: pd.DataFrame) -> pd.DataFrame:
    """Perplexity of every refit on every text, and the relative change with weight decay.

    Takes CONDITION, refit, text, tokens, nll and perplexity, and adds relative_difference:
    (PPL - PPL_0) / PPL_0 with PPL_0 of the same refit at weight decay 0; empty at weight decay 0
    and where the study has none. Refit "all" holds means of perplexity and relative_difference.
    """
    keys = ["architecture", "refit", "text"]
    plain = texts[texts["weight_decay"] == "0"].set_index(keys)["perplexity"].rename("reference")
    table = texts.merge(plain, on=keys, how="left", validate="many_to_one")
    change = (table["perplexity"] - table["reference"]) / table.pop("reference")
    table["relative_difference"] = change.where(table["weight_decay"] != "0")
    table = with_means(table, ["text"], ["perplexity", "relative_difference"])
    return table.astype({"tokens": "Int64"})
