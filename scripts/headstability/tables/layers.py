"""Tidy tables of layers: matches in any layer, commonness, contrasts and extremes."""

import pandas as pd

from ..conventions import CONDITION
from ..models.shape import in_order
from .means import with_means, with_refits


def cross_layer_table(cross_layer: pd.DataFrame, layer_stability: pd.DataFrame) -> pd.DataFrame:
    """Where best matches lie if they may be in any layer, and the stability they give.

    Args:
        cross_layer: CONDITION, anchor, layer, match_layer, proportion, stability.
        layer_stability: what `tables.stability.layer_stability_table` returned.

    Returns:
        CONDITION, anchor, layer, match_layer, proportion (of the matches of this layer's heads;
        they sum to 1 over match_layer), stability (with matches in any layer) and
        same_layer_stability (both repeated over match_layer), refits. Anchor "all" holds means
        over anchors.
    """
    measures = ["proportion", "stability"]
    table = with_means(cross_layer, ["layer", "match_layer"], measures, "anchor")
    same = layer_stability.rename(columns={"stability": "same_layer_stability"})
    same = same[[*CONDITION, "anchor", "layer", "same_layer_stability", "refits"]]
    on = [*CONDITION, "anchor", "layer"]
    table = table.merge(same, on=on, how="left", validate="many_to_one")
    return table[[*on, "match_layer", *measures, "same_layer_stability", "refits"]]


def commonness_table(heads: pd.DataFrame) -> pd.DataFrame:
    """How common the heads of a layer are within their own refit.

    Args:
        heads: CONDITION, refit, layer, head, commonness, commonness_of_others.

    Returns:
        CONDITION, refit, layer; commonness (mean over heads; every head compared with itself too),
        commonness_sd (over heads, ddof 1) and distinctness (1 - commonness); the same with
        "_of_others" (a head is not compared with itself); refits. Refit "all" holds means over
        refits, without standard deviations.
    """
    versions = ["commonness", "commonness_of_others"]
    groups = heads.groupby([*CONDITION, "refit", "layer"], sort=False)[versions]
    means, spread = groups.mean(), groups.std()
    refits = means.assign(**{f"{name}_sd": spread[name] for name in versions}).reset_index()
    table = with_refits(with_means(refits, ["layer"], versions), heads)
    table["distinctness"] = 1 - table["commonness"]
    table["distinctness_of_others"] = 1 - table["commonness_of_others"]
    columns = ["commonness", "commonness_sd", "distinctness"]
    others = ["commonness_of_others", "commonness_of_others_sd", "distinctness_of_others"]
    return table[[*CONDITION, "refit", "layer", *columns, *others, "refits"]]


def weight_decay_contrast_table(layer_stability: pd.DataFrame) -> pd.DataFrame:
    """Layer stability of every weight decay beside that of the study's smallest.

    Args:
        layer_stability: what `tables.stability.layer_stability_table` returned.

    Returns:
        CONDITION, anchor, layer, stability, baseline (the smallest weight decay),
        baseline_stability and difference (stability - baseline_stability; of an anchor: of the
        refits of the same name, which share their seeds); refits. The baseline itself has no
        difference.
    """
    baseline = min(layer_stability["weight_decay"].unique(), key=float)
    keys = ["architecture", "anchor", "layer"]
    of_baseline = layer_stability[layer_stability["weight_decay"] == baseline]
    of_baseline = of_baseline.rename(columns={"stability": "baseline_stability"})
    table = layer_stability.merge(
        of_baseline[[*keys, "baseline_stability"]], on=keys, how="left", validate="many_to_one"
    )
    contrasted = table["weight_decay"] != baseline
    table["difference"] = (table["stability"] - table["baseline_stability"]).where(contrasted)
    table["baseline"] = baseline
    columns = ["stability", "baseline", "baseline_stability", "difference", "refits"]
    return table[[*CONDITION, "anchor", "layer", *columns]]


def extremes_table(
    layer_stability: pd.DataFrame, architectures: dict[str, dict[str, object]]
) -> pd.DataFrame:
    """The most and the least stable layer of every condition.

    Args:
        layer_stability: what `tables.stability.layer_stability_table` returned.
        architectures: the shape of each: layers, heads, d_model and switches of the model.

    Returns:
        CONDITION, the shape's columns, anchor; least_layer, least_depth (its number over the
        number of layers), least_stability; the same of the most stable layer; delta (their
        difference); refits. Of equal layers the first counts.
    """
    rows = []
    for key, group in layer_stability.groupby([*CONDITION, "anchor"], sort=False):
        shape = architectures[key[0]]
        row = dict(zip([*CONDITION, "anchor"], key, strict=True)) | shape
        values = group["stability"]
        for name, place in {"least": values.idxmin(), "most": values.idxmax()}.items():
            layer = group.loc[place]
            row[f"{name}_layer"] = layer["layer"]
            row[f"{name}_depth"] = layer["layer"] / shape["layers"]
            row[f"{name}_stability"] = layer["stability"]
        row["delta"] = row["most_stability"] - row["least_stability"]
        row["refits"] = group["refits"].iloc[0]
        rows.append(row)
    found = [f"{n}_{what}" for n in ("least", "most") for what in ("layer", "depth", "stability")]
    columns = [*CONDITION, *in_order(shape), "anchor", *found, "delta", "refits"]
    return pd.DataFrame(rows)[columns]
