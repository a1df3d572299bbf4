"""Tidy tables over conditions: every number a figure shows is computed here."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from .files import read_csv
from .labels import ALL, CONDITION
from .statistics import kendall_tau_b, pearson


def read_conditions(conditions: Sequence[dict], paths: Sequence[str | Path]) -> pd.DataFrame:
    """One table a condition (or cell), stacked, each row labelled with its condition.

    Args:
        conditions: the labels of each table: architecture and weight_decay, for a cell refit too.
        paths: the table of each.
    """
    tables = []
    for condition, path in zip(conditions, paths, strict=True):
        table = read_csv(path)
        for place, (column, value) in enumerate(condition.items()):
            table.insert(place, column, value)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def heads_table(stability: pd.DataFrame, ablations: pd.DataFrame) -> pd.DataFrame:
    """Stability and ablation effects of every head of every refit, side by side.

    Args:
        stability: CONDITION, anchor, layer, head, stability.
        ablations: CONDITION, refit, layer, head and the columns of `ablation_table`.
    """
    stability = stability.rename(columns={"anchor": "refit"})
    keys = [*CONDITION, "refit", "layer", "head"]
    return stability.merge(ablations, on=keys, how="left", validate="one_to_one")


def layer_stability_table(stability: pd.DataFrame, refits: pd.DataFrame) -> pd.DataFrame:
    """S_l of every anchor, and the mean over anchors (anchor "all").

    Args:
        stability: CONDITION, anchor, layer, head, stability.
        refits: CONDITION, refit, held_out_loss.

    Returns:
        CONDITION, anchor, layer, stability, heads_sd (ddof 1, over heads; empty for "all"),
        held_out_loss in nats (the anchor's; the mean over refits for "all"), refits.
    """
    groups = stability.groupby([*CONDITION, "anchor", "layer"], sort=False)["stability"]
    anchors = groups.agg(stability="mean", heads_sd="std").reset_index()
    losses = refits.rename(columns={"refit": "anchor"})[[*CONDITION, "anchor", "held_out_loss"]]
    anchors = anchors.merge(losses, on=[*CONDITION, "anchor"], how="left", validate="many_to_one")
    overall = anchors.groupby([*CONDITION, "layer"], sort=False, as_index=False)[
        ["stability", "held_out_loss"]
    ].mean()
    overall["anchor"] = ALL
    table = pd.concat([overall, anchors], ignore_index=True)
    counts = refits.groupby(CONDITION, sort=False).size().rename("refits").reset_index()
    table = table.merge(counts, on=CONDITION, validate="many_to_one")
    columns = [*CONDITION, "anchor", "layer", "stability", "heads_sd", "held_out_loss", "refits"]
    return table[columns]


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


def head_map_table(heads: pd.DataFrame, anchor: str) -> pd.DataFrame:
    """S of every head of one anchor (head numbers mean nothing in another refit)."""
    return heads[heads["anchor"] == anchor].reset_index(drop=True)
