"""Tidy tables of stability: every number a figure shows is computed here."""

import pandas as pd

from ..labels import ALL, CONDITION


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


def head_map_table(heads: pd.DataFrame, anchor: str, dead: pd.DataFrame) -> pd.DataFrame:
    """S of every head of one anchor (head numbers mean nothing in another refit).

    Args:
        heads: anchor, layer, head, stability.
        anchor: the one to show.
        dead: of the condition, layer and dead (`tables.ablation.dead_heads_table`).

    Returns:
        The anchor's rows and dead: whether by any method of ablation the layer's heads do next
        to nothing; empty if that is not known.
    """
    flags = dead.dropna(subset=["dead"]).astype({"dead": bool}).groupby("layer")["dead"].any()
    table = heads[heads["anchor"] == anchor].reset_index(drop=True)
    return table.assign(dead=table["layer"].map(flags))
