"""Tidy tables of residual streams and of the sizes of weights and activations."""

import pandas as pd

from ..labels import ALL, CONDITION
from ..statistics import pearson

_CHOICE = ["stream", "kernel", "estimator"]


def residual_table(pairs: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """CKA of each refit's residual stream with the others', beside layer stability.

    Args:
        pairs: CONDITION and the columns of `residual.residual_pairs`.
        layers: what `tables.stability.layer_stability_table` returned.

    Returns:
        CONDITION, refit, layer, stream, kernel, estimator, cka (mean over the other refits; of
        refit "all" the mean over pairs), stability (S_l of the same refit as the anchor),
        positions, refits.
    """
    keys = [*CONDITION, "layer", *_CHOICE]
    sides = [pairs.rename(columns={side: "refit"}) for side in ("refit_a", "refit_b")]
    everyone = pd.concat([*sides, pairs.assign(refit=ALL)], ignore_index=True)
    groups = everyone.groupby([*CONDITION, "refit", "layer", *_CHOICE], sort=False)
    table = groups.agg(cka=("cka", "mean"), positions=("positions", "first")).reset_index()
    first = table["refit"] == ALL
    table = pd.concat([table[first], table[~first]], ignore_index=True)
    table = with_stability(table, layers)
    counts = layers[[*CONDITION, "refits"]].drop_duplicates()
    table = table.merge(counts, on=CONDITION, how="left", validate="many_to_one")
    return table[[*CONDITION, "refit", *keys[2:], "cka", "stability", "positions", "refits"]]


def attention_norms_table(norms: pd.DataFrame) -> pd.DataFrame:
    """Mean norms of activations by refit, and their means over refits (refit "all").

    Args:
        norms: CONDITION and the columns of `norms.stream_norms`.
    """
    measures = [name for name in norms if name not in (*CONDITION, "refit", "layer")]
    groups = norms.groupby([*CONDITION, "layer"], sort=False, as_index=False)
    overall = groups[measures].mean().assign(refit=ALL)
    table = pd.concat([overall, norms], ignore_index=True)[norms.columns]
    counts = norms.groupby(CONDITION, sort=False)["refit"].nunique().rename("refits").reset_index()
    return table.merge(counts, on=CONDITION, validate="many_to_one")


def weight_norms_table(norms: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Correlation across layers of each refit's stability with the norms of its weights.

    Args:
        norms: CONDITION and the columns of `norms.weight_norms`.
        layers: what `tables.stability.layer_stability_table` returned.

    Returns:
        CONDITION, refit, matrix, pearson (empty with fewer than 3 layers or if one side does not
        vary; of refit "all" the mean over refits), layers, refits.
    """
    beside = with_stability(norms, layers)
    rows = []
    for key, group in beside.groupby([*CONDITION, "refit", "matrix"], sort=False):
        x, y = group["stability"].to_numpy(), group["norm"].to_numpy()
        rows.append((*key, pearson(x, y), len(group)))
    columns = [*CONDITION, "refit", "matrix", "pearson", "layers"]
    refits = pd.DataFrame(rows, columns=columns)
    groups = refits.groupby([*CONDITION, "matrix"], sort=False, as_index=False)
    overall = groups.agg({"pearson": "mean", "layers": "first"}).assign(refit=ALL)
    table = pd.concat([overall, refits], ignore_index=True)[columns]
    counts = norms.groupby(CONDITION, sort=False)["refit"].nunique().rename("refits").reset_index()
    return table.merge(counts, on=CONDITION, validate="many_to_one")


def with_stability(table: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """A table by refit and layer with S_l of the same refit as the anchor.

    Args:
        table: CONDITION, refit, layer and more.
        layers: CONDITION, anchor, layer, stability.
    """
    own = layers.rename(columns={"anchor": "refit"})[[*CONDITION, "refit", "layer", "stability"]]
    return table.merge(own, on=[*CONDITION, "refit", "layer"], how="left", validate="many_to_one")
