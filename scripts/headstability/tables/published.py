"""This study's values beside those published in the paper (docs/published)."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..errors import UserError
from ..models.shape import own_switches
from .replicates import by_condition

# The conditions whose values by layer are known, and their column.
_BY_LAYER_SHAPE = {"layers": 8, "heads": 8, "mlp": True}
_BY_LAYER = {0.0: "adam_stability", 0.1: "adamw_stability"}


def published_table(
    ours: pd.DataFrame,
    extremes: pd.DataFrame,
    layers: pd.DataFrame,
    shapes: Mapping[str, Mapping[str, Any]],
    anchor: str,
) -> pd.DataFrame:
    """Ours, published and the difference, for every condition of a published shape.

    Takes tables/layer_stability.csv, docs/published/layers.csv and docs/published/l8_h8.csv, and
    compares one anchor, as the paper has one. Quantities are `least stable layer`, `most stable
    layer`, `stability of` each, and `stability` by layer where that is known; `layer` is empty but
    for the last. Columns d_model and refits are ours. The paper's d_model is 512 (GPT-2 small:
    768): a model of another one is another model.

    Raises:
        UserError: no condition of the study has a published shape.
    """
    rows = []
    for labels, table in by_condition(ours[ours["anchor"] == anchor]):
        shape, decay = shapes[labels["architecture"]], float(labels["weight_decay"])
        stability = table.set_index("layer")["stability"]
        found: list[tuple] = []  # quantity, layer, ours, published, published refits
        if row := published_condition(extremes, shape, decay):
            for which, layer in (("least", stability.idxmin()), ("most", stability.idxmax())):
                name, count = f"{which} stable layer", int(row["refits"])
                found.append((name, None, layer, row[f"{which}_stable_layer"], count))
                value = row[f"{which}_stability"]
                found.append((f"stability of the {name}", None, stability[layer], value, count))
        known_by_layer = shape.items() >= _BY_LAYER_SHAPE.items() and not own_switches(shape)
        if known_by_layer and decay in _BY_LAYER:
            known = layers.set_index("layer")[_BY_LAYER[decay]]
            found += [("stability", n, here, known[n], 5) for n, here in stability.items()]
        counts = {"d_model": shape["d_model"], "refits": int(table["refits"].iloc[0])}
        for quantity, layer, here, published, count in found:
            row = {"quantity": quantity, "layer": layer, "ours": here, "published": published}
            row |= {"difference": here - published, **counts, "published_refits": count}
            rows.append(labels | row)
    if not rows:
        raise UserError(
            "no condition of this study has the shape (layers, heads, mlp) and weight decay of a "
            "published one: there is nothing to compare"
        )
    return pd.DataFrame(rows).astype({"layer": "Int64"})


def published_condition(
    published: pd.DataFrame, shape: Mapping[str, Any], weight_decay: float
) -> dict[str, Any] | None:
    """The paper's condition of the same layers, heads, kind of layer and weight decay, if any.

    Takes docs/published/layers.csv and the shape of an architecture.
    """
    alike = (
        (published["layers"] == shape["layers"])
        & (published["heads"] == shape["heads"])
        & (published["attn_only"] != shape["mlp"])
        & (published["weight_decay"].astype(float) == weight_decay)
    )
    return None if own_switches(shape) or not alike.any() else published[alike].iloc[0].to_dict()
