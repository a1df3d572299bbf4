"""Tables of layers: matches in any layer, commonness, contrasts of weight decays, extremes."""

import numpy as np
import pandas as pd
import pytest

from headstability.storage.files import read_csv, write_csv
from headstability.tables import layers, stability

REFITS = ("seed1", "seed2", "seed3")
SHAPES = {
    "deep": {"layers": 3, "heads": 2, "d_model": 8, "mlp": True},
    "flat": {"layers": 1, "heads": 2, "d_model": 4, "mlp": False},
}
LABELS = ["architecture", "weight_decay"]


def grid(decays=("0.1", "0", "1")):
    return [(name, decay, refit) for name in SHAPES for decay in decays for refit in REFITS]


def layer_stability(decays=("0.1", "0", "1"), seed=0):
    rng = np.random.default_rng(seed)
    rows = [
        (*cell, layer, head, rng.random())
        for cell in grid(decays)
        for layer in range(1, SHAPES[cell[0]]["layers"] + 1)
        for head in (1, 2)
    ]
    heads = pd.DataFrame(rows, columns=[*LABELS, "anchor", "layer", "head", "stability"])
    refits = pd.DataFrame(grid(decays), columns=[*LABELS, "refit"]).assign(held_out_loss=3.0)
    return stability.layer_stability_table(heads, refits)


def cross_layer():
    rng = np.random.default_rng(1)
    rows = []
    for cell in grid():
        count = SHAPES[cell[0]]["layers"]
        for layer in range(1, count + 1):
            shares, value = rng.dirichlet(np.ones(count)), rng.random()
            rows += [(*cell, layer, m + 1, shares[m], value) for m in range(count)]
    columns = [*LABELS, "anchor", "layer", "match_layer", "proportion", "stability"]
    return pd.DataFrame(rows, columns=columns)


def test_cross_layer_table():
    single, same = cross_layer(), layer_stability()
    table = layers.cross_layer_table(single, same)
    assert len(table) == len(single) * 4 / 3
    rows = table.groupby([*LABELS, "anchor", "layer"])
    assert np.allclose(rows["proportion"].sum(), 1)
    assert (rows["stability"].nunique() == 1).all()
    indexed = table.set_index([*LABELS, "anchor", "layer", "match_layer"]).sort_index()
    reference = same.set_index([*LABELS, "anchor", "layer"])["stability"]
    for row in single.itertuples():
        place = (row.architecture, row.weight_decay, row.anchor, row.layer)
        found = indexed.loc[(*place, row.match_layer)]
        assert (found["proportion"], found["stability"]) == (row.proportion, row.stability)
        assert found["same_layer_stability"] == reference[place]
        assert found["refits"] == 3
    part = single.query("architecture == 'deep' and weight_decay == '0' and layer == 2")
    expected = part[part["match_layer"] == 3]["proportion"].sum() / 3
    assert indexed.loc[("deep", "0", "all", 2, 3), "proportion"] == pytest.approx(expected)
    assert indexed.loc[("deep", "0", "all", 2, 3), "stability"] == pytest.approx(
        part["stability"].mean()
    )


def common_heads():
    rng = np.random.default_rng(2)
    rows = [(*cell, 1, head, rng.random(), rng.random()) for cell in grid() for head in (1, 2, 3)]
    columns = [*LABELS, "refit", "layer", "head", "commonness", "commonness_of_others"]
    return pd.DataFrame(rows, columns=columns)


def test_commonness_table():
    heads = common_heads()
    table = layers.commonness_table(heads).set_index([*LABELS, "refit", "layer"]).sort_index()
    assert len(table) == len(heads) / 3 * 4 / 3
    for name in ("", "_of_others"):
        column, sd, distinctness = f"commonness{name}", f"commonness{name}_sd", "distinctness"
        means = []
        for refit in REFITS:
            values = heads.query(
                "architecture == 'deep' and weight_decay == '1' and refit == @refit"
            )[column].to_numpy()
            row = table.loc[("deep", "1", refit, 1)]
            means.append(values.sum() / 3)
            assert row[column] == pytest.approx(means[-1])
            assert row[sd] == pytest.approx(np.sqrt(((values - means[-1]) ** 2).sum() / 2))
            assert row[distinctness + name] == pytest.approx(1 - means[-1])
        overall = table.loc[("deep", "1", "all", 1)]
        assert overall[column] == pytest.approx(sum(means) / 3)
        assert overall[distinctness + name] == pytest.approx(1 - sum(means) / 3)
        assert np.isnan(overall[sd])
    assert (table["refits"] == 3).all()


def test_weight_decay_contrast_is_taken_from_the_smallest_between_the_same_seeds():
    single = layer_stability()
    table = layers.weight_decay_contrast_table(single)
    value = single.set_index([*LABELS, "anchor", "layer"])["stability"]
    assert len(table) == len(single)
    assert set(table["baseline"]) == {"0"}
    for row in table.itertuples():
        own = value[row.architecture, row.weight_decay, row.anchor, row.layer]
        reference = value[row.architecture, "0", row.anchor, row.layer]
        assert (row.stability, row.baseline_stability) == (own, reference)
        if row.weight_decay == "0":
            assert np.isnan(row.difference)
        else:
            assert row.difference == own - reference
    overall = table[(table["anchor"] == "all") & (table["weight_decay"] == "1")]
    single_ones = table[(table["anchor"] != "all") & (table["weight_decay"] == "1")]
    means = single_ones.groupby(["architecture", "layer"])["difference"].mean()
    expected = means.loc[list(zip(overall["architecture"], overall["layer"], strict=True))]
    assert np.allclose(overall["difference"], expected)


def test_one_weight_decay_has_no_contrast():
    table = layers.weight_decay_contrast_table(layer_stability(decays=("0.1",)))
    assert table["difference"].isna().all()
    assert len(table) == 4 * (3 + 1)


def test_extremes_table(tmp_path):
    single = layer_stability(seed=3)
    by_name = {name: dict(sorted(shape.items())) for name, shape in SHAPES.items()}
    table = layers.extremes_table(single, by_name)  # as a job is given them
    assert list(table)[2:7] == ["layers", "heads", "d_model", "mlp", "anchor"]
    assert len(table) == 2 * 3 * 4
    for row in table.itertuples():
        own = single[
            (single["architecture"] == row.architecture)
            & (single["weight_decay"] == row.weight_decay)
            & (single["anchor"] == row.anchor)
        ]
        by_layer = dict(zip(own["layer"], own["stability"], strict=True))
        low, high = min(by_layer.values()), max(by_layer.values())
        assert by_layer[row.least_layer] == row.least_stability == low
        assert by_layer[row.most_layer] == row.most_stability == high
        assert row.delta == high - low
        shape = SHAPES[row.architecture]
        assert row.least_depth == row.least_layer / shape["layers"]
        assert row.most_depth == row.most_layer / shape["layers"]
        assert {name: getattr(row, name) for name in shape} == shape
    assert (table[table["architecture"] == "flat"]["delta"] == 0).all()
    write_csv(tmp_path / "extremes.csv", table)
    assert read_csv(tmp_path / "extremes.csv")["mlp"].tolist() == table["mlp"].tolist()
