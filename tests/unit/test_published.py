"""Published values beside ours."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headstability.errors import UserError
from headstability.tables.published import published_table

DATA = Path(__file__).resolve().parents[2] / "docs" / "published"
SHAPE = {"layers": 8, "heads": 8, "mlp": True, "d_model": 512}


@pytest.fixture
def published():
    return pd.read_csv(DATA / "layers.csv"), pd.read_csv(DATA / "l8_h8.csv")


def table_of(name, decay, values, refits=5):
    layers = np.arange(1, len(values) + 1)
    condition = {"architecture": name, "weight_decay": decay, "layer": layers, "refits": refits}
    seed1 = pd.DataFrame({**condition, "anchor": "seed1", "stability": values})
    others = pd.DataFrame({**condition, "anchor": "all", "stability": 0.0})
    return pd.concat([others, seed1])


def test_the_shipped_data_are_complete(published):
    extremes, layers = published
    assert len(extremes) == 26
    assert (extremes.least_stability < extremes.most_stability).all()
    assert layers.layer.tolist() == list(range(1, 9))


def test_the_published_values_themselves_differ_by_nothing(published):
    extremes, layers = published
    ours = table_of("any_name", "0.1", layers.adamw_stability.to_numpy())
    found = published_table(ours, extremes, layers, {"any_name": SHAPE}, "seed1")
    by_layer = found[found.quantity == "stability"]
    assert by_layer.difference.abs().max() == 0
    assert by_layer.layer.tolist() == list(range(1, 9))
    first = found.set_index("quantity")
    row = extremes[extremes.condition == "l8_h8_wd"].iloc[0]
    assert first.published["least stable layer"] == row.least_stable_layer == 7
    assert first.ours["least stable layer"] == 7
    key = "stability of the least stable layer"
    assert first.difference[key] == pytest.approx(0.726224 - row.least_stability)
    assert first.published_refits[key] == 50
    assert set(first.refits) == {5}


def test_conditions_are_compared_by_shape(published):
    values = [0.8, 0.9]
    shape = {"layers": 2, "heads": 16, "mlp": False, "d_model": 512}
    found = published_table(table_of("x", "0", values), *published, {"x": shape}, "seed1")
    assert found.published.tolist() == [1, 0.776865, 2, 0.778068]
    assert found.ours.tolist() == [1, 0.8, 2, 0.9]
    assert found.layer.isna().all()
    assert set(found.d_model) == {512}
    for other in ({"mlp": True, "heads": 3}, {"heads": 4}, {"layers": 3}):
        with pytest.raises(UserError, match="there is nothing to compare"):
            published_table(table_of("x", "0", values), *published, {"x": shape | other}, "seed1")
    with pytest.raises(UserError, match="there is nothing to compare"):
        published_table(table_of("x", "0.3", values), *published, {"x": shape}, "seed1")
