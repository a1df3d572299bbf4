"""Tidy tables of layers: matches in any layer, commonness, contrasts and extremes.

`layer_stability` is the table that `tables.stability.layer_stability_table` returns.
"""

import pandas as pd

from ..conventions import CONDITION
from ..models.shape import in_order
from .means import with_means, with_refits


def cross_layer_table(cross_layer: pd.DataFrame, layer_stability: pd.DataFrame) -> pd.DataFrame:
    """Where best matches lie if they may be in any layer, and the stability they give.

    By CONDITION, anchor, layer and match_layer: proportion of the matches of this layer's heads,
    which sums to 1 over match_layer; and, repeated over match_layer, stability with matches in any
    layer and same_layer_stability. Anchor "all" holds means over anchors.
    """
    measures = ["proportion", "stability"]
    table = with_means(cross_layer, ["layer", "match_layer"], measures, "anchor")
    same = layer_stability.rename(columns={"stability": "same_layer_stability"})
    on = [*CONDITION, "anchor", "layer"]
    same = same[[*on, "same_layer_stability", "refits"]]
    table = table.merge(same, on=on, how="left", validate="many_to_one")
    return table[[*on, "match_layer", *measures, "same_layer_stability", "refits"]]


def commonness_table(heads: pd.DataFrame) -> pd.DataFrame:
    """How common the heads of a layer are within their own refit.

    Takes commonness (a head is compared with itself too) and commonness_of_others (it is not) by
    CONDITION, refit, layer and head. Returns their means over heads, with standard deviations
    (`_sd`, ddof 1) and distinctness (1 - commonness). Refit "all" holds means over refits, without
    standard deviations.
    """
    versions = ["commonness", "commonness_of_others"]
    groups = heads.groupby([*CONDITION, "refit", "layer"], sort=False)[versions]
    refits = groups.mean().join(groups.std().add_suffix("_sd")).reset_index()
    table = with_refits(with_means(refits, ["layer"], versions), heads)
    columns = [*CONDITION, "refit", "layer"]
    for name in versions:
        distinctness = name.replace("commonness", "distinctness")
        table[distinctness] = 1 - table[name]
        columns += [name, f"{name}_sd", distinctness]
    return table[[*columns, "refits"]]


def weight_decay_contrast_table(layer_stability: pd.DataFrame) -> pd.DataFrame:
    """Layer stability of every weight decay beside that of the study's smallest, the baseline.

    The difference (stability - baseline_stability) of an anchor is of the refits of the same name,
    which share their seeds. The baseline itself has none.
    """
    baseline = min(layer_stability["weight_decay"].unique(), key=float)
    keys = ["architecture", "anchor", "layer"]
    of_baseline = layer_stability[layer_stability["weight_decay"] == baseline].set_index(keys)
    values = of_baseline["stability"].rename("baseline_stability")
    table = layer_stability.merge(values, on=keys, how="left", validate="many_to_one")
    difference = table["stability"] - table["baseline_stability"]
    table["difference"] = difference.where(table["weight_decay"] != baseline)
    table["baseline"] = baseline
    columns = ["stability", "baseline", "baseline_stability", "difference", "refits"]
    return table[[*CONDITION, "anchor", "layer", *columns]]


def extremes_table(
    layer_stability: pd.DataFrame, architectures: dict[str, dict[str, object]]
) -> pd.DataFrame:
    """The least and the most stable layer of every condition and anchor, and their difference.

    Returns CONDITION, the shape of the architecture (one of `architectures`), anchor; least_layer,
    least_depth (its number over the number of layers), least_stability; the same of the most stable
    layer; delta, the difference in stability; refits. Of equal layers the first counts.
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
