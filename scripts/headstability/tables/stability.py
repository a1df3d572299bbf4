"""Tidy tables of stability: every number a figure shows is computed here."""

import pandas as pd

from ..conventions import CONDITION
from .ablation import dead_heads_table
from .means import with_means, with_refits


def layer_stability_table(stability: pd.DataFrame, refits: pd.DataFrame) -> pd.DataFrame:
    """S_l of every anchor, and the mean over anchors (anchor "all").

    Takes stability by CONDITION, anchor, layer and head, and held_out_loss by CONDITION and refit.
    Returns, by CONDITION, anchor and layer: stability; heads_sd (over heads, ddof 1; empty for
    "all"); held_out_loss in nats (the anchor's; the mean over refits for "all"); refits.
    """
    groups = stability.groupby([*CONDITION, "anchor", "layer"], sort=False)["stability"]
    anchors = groups.agg(stability="mean", heads_sd="std").reset_index()
    losses = refits.rename(columns={"refit": "anchor"})[[*CONDITION, "anchor", "held_out_loss"]]
    anchors = anchors.merge(losses, on=[*CONDITION, "anchor"], how="left", validate="many_to_one")
    table = with_means(anchors, ["layer"], ["stability", "held_out_loss"], "anchor")
    return with_refits(table, refits)


def head_map_table(
    heads: pd.DataFrame, ablations: pd.DataFrame, anchor: str, weight_decay: str
) -> pd.DataFrame:
    """S of every head of one anchor of a condition, and which layers have dead heads.

    `ablations` holds the condition, whose weight decay is given, and the same architecture without
    weight decay. A layer is dead if its heads do almost nothing by any method of ablation; empty:
    that is not known. Head numbers mean nothing in another refit.
    """
    dead = dead_heads_table(ablations)
    dead = dead[dead["weight_decay"] == weight_decay].dropna(subset=["dead"])
    flags = dead.astype({"dead": bool}).groupby("layer")["dead"].any()
    table = heads[heads["anchor"] == anchor].reset_index(drop=True)
    return table.assign(dead=table["layer"].map(flags))


def pairwise_table(pairs: pd.DataFrame) -> pd.DataFrame:
    """Stability of pairs of refits of one condition, as measured: refit_a, refit_b, layer, it."""
    return pairs


def prompt_length_table(lengths: pd.DataFrame) -> pd.DataFrame:
    """S_l of every anchor and prompt length, with the mean over anchors (anchor "all") and refits.

    Takes stability and heads_sd (empty for "all") by CONDITION, tokens, prompts, anchor and layer.
    """
    table = with_means(lengths, ["tokens", "prompts", "layer"], ["stability"], "anchor")
    return with_refits(table, lengths, "anchor")
