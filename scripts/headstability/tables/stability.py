"""Tidy tables of stability: every number a figure shows is computed here."""

import pandas as pd

from ..conventions import CONDITION
from .ablation import dead_heads_table
from .means import with_means, with_refits


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
    table = with_means(anchors, ["layer"], ["stability", "held_out_loss"], "anchor")
    return with_refits(table, refits)


def head_map_table(
    heads: pd.DataFrame, ablations: pd.DataFrame, anchor: str, weight_decay: str
) -> pd.DataFrame:
    """S of every head of one anchor of a condition, and which layers have dead heads.

    Args:
        heads: anchor, layer, head, stability (head numbers mean nothing in another refit).
        ablations: CONDITION, refit, layer, head, method, delta_loss of the condition and of the
            same architecture without weight decay.
        anchor: the one to show.
        weight_decay: of the condition.

    Returns:
        The anchor's rows and dead: whether by any method of ablation the layer's heads do almost
        nothing; empty if that is not known.
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
    """S_l of every anchor and prompt length, and the mean over anchors (anchor "all").

    Args:
        lengths: CONDITION, tokens, prompts, anchor, layer, stability, heads_sd.

    Returns:
        The same columns and refits; heads_sd is empty for "all".
    """
    table = with_means(lengths, ["tokens", "prompts", "layer"], ["stability"], "anchor")
    return with_refits(table, lengths, "anchor")
