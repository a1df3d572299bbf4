"""Tidy tables of residual streams and of the sizes of weights and activations.

`layers` is the table that `tables.stability.layer_stability_table` returns. The other arguments
have CONDITION and the columns of the tables of `analysis.streams`.
"""

import pandas as pd

from ..conventions import ALL, CONDITION
from ..measures.uncertainty import pearson
from .means import with_means, with_refits


def residual_table(pairs: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """CKA of each refit's residual stream with the others', beside layer stability.

    By CONDITION, refit, layer, stream, kernel and estimator: cka (mean over the other refits; of
    refit "all" the mean over pairs), stability (S_l of the same refit as the anchor), positions,
    refits.
    """
    keys = [*CONDITION, "refit", "layer", "stream", "kernel", "estimator"]
    sides = [pairs.rename(columns={side: "refit"}) for side in ("refit_a", "refit_b")]
    everyone = pd.concat([*sides, pairs.assign(refit=ALL)], ignore_index=True)
    groups = everyone.groupby(keys, sort=False)
    table = groups.agg(cka=("cka", "mean"), positions=("positions", "first")).reset_index()
    first = table["refit"] == ALL
    table = _with_stability(pd.concat([table[first], table[~first]]), layers)
    counts = layers[[*CONDITION, "refits"]].drop_duplicates()
    table = table.merge(counts, on=CONDITION, how="left", validate="many_to_one")
    return table[[*keys, "cka", "stability", "positions", "refits"]]


def attention_norms_table(norms: pd.DataFrame) -> pd.DataFrame:
    """Mean norms of activations by refit, and their means over refits (refit "all")."""
    measures = [name for name in norms if name not in (*CONDITION, "refit", "layer")]
    return with_refits(with_means(norms, ["layer"], measures), norms)


def weight_norms_table(norms: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Correlation across layers of each refit's stability with the norms of its weights.

    By CONDITION, refit and matrix: pearson (empty with fewer than 3 layers or if one side does not
    vary; of refit "all" the mean over refits), layers, refits.
    """
    beside = _with_stability(norms, layers)
    rows = []
    for key, group in beside.groupby([*CONDITION, "refit", "matrix"], sort=False):
        x, y = group["stability"].to_numpy(), group["norm"].to_numpy()
        rows.append((*key, pearson(x, y), len(group)))
    refits = pd.DataFrame(rows, columns=[*CONDITION, "refit", "matrix", "pearson", "layers"])
    return with_refits(with_means(refits, ["matrix", "layers"], ["pearson"]), norms)


def _with_stability(table: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """A table by refit and layer with S_l of the same refit as the anchor."""
    own = layers.rename(columns={"anchor": "refit"})[[*CONDITION, "refit", "layer", "stability"]]
    return table.merge(own, on=[*CONDITION, "refit", "layer"], how="left", validate="many_to_one")
