"""This study's values beside those the paper published (docs/published)."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..errors import UserError
from ..labels import CONDITION

# The conditions whose values by layer are known, and their column.
_BY_LAYER_SHAPE = (8, 8, False)
_BY_LAYER = {0.0: "adam_stability", 0.1: "adamw_stability"}


def published_table(
    ours: pd.DataFrame,
    extremes: pd.DataFrame,
    layers: pd.DataFrame,
    shapes: Mapping[str, Mapping[str, Any]],
    anchor: str,
) -> pd.DataFrame:
    """Ours, published and the difference, for every condition of a published shape.

    Args:
        ours: tables/layer_stability.csv.
        extremes: docs/published/layers.csv.
        layers: docs/published/l8_h8.csv.
        shapes: layers, heads, attn_only and d_model of each architecture.
        anchor: the refit whose stability is compared: the paper has one anchor.

    Returns:
        CONDITION, quantity (`least stable layer`, `most stable layer`, `stability of` each, and
        `stability` by layer where that is known), layer (empty but for the last), ours,
        published, difference (ours - published), d_model and refits (ours), published_refits.
        The paper's d_model is 512 (GPT-2 small: 768): another one is another model.

    Raises:
        UserError: no condition of the study has a published shape.
    """
    rows = []
    anchored = ours[ours["anchor"] == anchor]
    for condition, table in anchored.groupby(CONDITION, sort=False):
        name, decay = condition
        shape, decay_value = shapes[name], float(decay)
        labels = dict(zip(CONDITION, condition, strict=True))
        counts = {"d_model": shape["d_model"], "refits": int(table["refits"].iloc[0])}
        same = extremes[
            (extremes["layers"] == shape["layers"])
            & (extremes["heads"] == shape["heads"])
            & (extremes["attn_only"] == shape["attn_only"])
            & (extremes["weight_decay"] == decay_value)
        ]
        if len(same):
            row = same.iloc[0]
            by_layer = table.set_index("layer")["stability"]
            counts["published_refits"] = int(row["refits"])
            for which, layer in (("least", by_layer.idxmin()), ("most", by_layer.idxmax())):
                there = row[f"{which}_stable_layer"], row[f"{which}_stability"]
                for quantity, here, published in (
                    (f"{which} stable layer", layer, there[0]),
                    (f"stability of the {which} stable layer", by_layer[layer], there[1]),
                ):
                    rows.append(_row(labels, quantity, None, here, published, counts))
        form = shape["layers"], shape["heads"], shape["attn_only"]
        if form == _BY_LAYER_SHAPE and decay_value in _BY_LAYER:
            known = layers.set_index("layer")[_BY_LAYER[decay_value]]
            for layer, here in table.set_index("layer")["stability"].items():
                counts = {**counts, "published_refits": 5}
                rows.append(_row(labels, "stability", layer, here, known[layer], counts))
    if not rows:
        raise UserError(
            "no condition of this study has the shape (layers, heads, mlp) and weight decay of a "
            "published one: there is nothing to compare"
        )
    table = pd.DataFrame(rows)
    return table.astype({"layer": "Int64"})


def _row(
    labels: Mapping[str, str],
    quantity: str,
    layer: int | None,
    ours: float,
    published: float,
    counts: Mapping[str, int],
) -> dict[str, Any]:
    return {
        **labels,
        "quantity": quantity,
        "layer": layer,
        "ours": ours,
        "published": published,
        "difference": ours - published,
        **counts,
    }
