import numpy as np
import oracles
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstability.analysis.ablation import AblationResult, ablation_table
from headstability.measures import uncertainty as statistics
from headstability.storage.files import write_csv
from headstability.tables import ablation as ablation_tables
from headstability.tables import reading
from headstability.tables import stability as stability_tables

numbers = st.lists(
    st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=3, max_size=20
).filter(lambda v: len({a for a, _ in v}) > 1 and len({b for _, b in v}) > 1)


@given(numbers)
def test_correlations_agree_with_their_definitions(values):
    x, y = np.array(values, dtype=float).T
    assert statistics.pearson(x, y) == pytest.approx(oracles.pearson(x, y), abs=1e-9)
    assert statistics.kendall_tau_b(x, y) == pytest.approx(oracles.kendall_tau_b(x, y), abs=1e-9)


@pytest.mark.parametrize("measure", [statistics.pearson, statistics.kendall_tau_b])
def test_correlations_that_do_not_exist(measure):
    assert np.isnan(measure(np.ones(4), np.arange(4.0)))
    assert np.isnan(measure(np.arange(2.0), np.arange(2.0)))


def test_ablation_table():
    ablated = np.array([[110.0, 100.0], [90.0, 130.0]])
    whole = ablation_table(AblationResult(50, 100.0, {"mean": ablated + 1, "zero": ablated}))
    assert whole["method"].tolist() == ["mean"] * 4 + ["zero"] * 4
    assert (whole["perplexity"] == whole["perplexity"].iloc[0]).all()
    table = whole[whole["method"] == "zero"]
    row = table[(table["layer"] == 2) & (table["head"] == 2)].iloc[0]
    assert row["perplexity"] == pytest.approx(np.exp(2))
    assert row["ablated_perplexity"] == pytest.approx(np.exp(2.6))
    assert row["delta_perplexity"] == pytest.approx(np.exp(2.6) - np.exp(2))
    assert row["relative_delta_perplexity"] == pytest.approx(np.exp(0.6) - 1)
    assert row["delta_loss"] == pytest.approx(0.6)
    assert np.allclose(
        table["delta_loss"], np.log(table["ablated_perplexity"] / table["perplexity"])
    )
    assert table[["layer", "head"]].to_numpy().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert (table["predicted_tokens"] == 50).all()


@pytest.fixture
def stability():
    rng = np.random.default_rng(0)
    rows = [
        {"architecture": a, "weight_decay": w, "anchor": r, "layer": layer, "head": h}
        for a, w in (("deep", "0"), ("deep", "0.1"))
        for r in ("seed1", "seed2", "seed3")
        for layer in (1, 2)
        for h in (1, 2, 3)
    ]
    table = pd.DataFrame(rows)
    return table.assign(stability=rng.random(len(table)))


@pytest.fixture
def refits():
    rows = [("deep", w, f"seed{r}", 3 + r / 10) for w in ("0", "0.1") for r in (1, 2, 3)]
    return pd.DataFrame(rows, columns=["architecture", "weight_decay", "refit", "held_out_loss"])


def test_layer_stability_table(stability, refits):
    table = stability_tables.layer_stability_table(stability, refits)
    chosen = (stability["weight_decay"] == "0.1") & (stability["layer"] == 2)
    one = stability[chosen & (stability["anchor"] == "seed2")]["stability"]
    part = table[(table["weight_decay"] == "0.1") & (table["layer"] == 2)].set_index("anchor")
    assert part.loc["seed2", "stability"] == pytest.approx(one.mean())
    assert part.loc["seed2", "heads_sd"] == pytest.approx(np.std(one, ddof=1))
    assert part.loc["seed2", "held_out_loss"] == pytest.approx(3.2)
    assert part.loc["all", "stability"] == pytest.approx(stability[chosen]["stability"].mean())
    assert part.loc["all", "held_out_loss"] == pytest.approx(3.2)
    assert np.isnan(part.loc["all", "heads_sd"])
    assert (table["refits"] == 3).all()
    assert len(table) == 2 * 2 * 4


def by_method(stability):
    """Two rows for every head, as `ablation_table` has them."""
    rows = stability.rename(columns={"anchor": "refit"}).drop(columns="stability")
    return pd.concat([rows.assign(method=method) for method in ("zero", "mean")])


def test_stability_ablation_table(stability):
    rng = np.random.default_rng(1)
    ablations = by_method(stability)
    ablations["delta_loss"] = rng.normal(size=len(ablations))
    heads = ablation_tables.heads_tables(stability, ablations)["heads"]
    assert len(heads) == len(ablations) == 2 * len(stability)
    table = ablation_tables.stability_ablation_table(heads)
    for _, group in heads.groupby(["architecture", "weight_decay", "method", "refit", "layer"]):
        row = table.merge(group[["weight_decay", "method", "refit", "layer"]].drop_duplicates())
        assert len(row) == 1
        assert row["heads"].iloc[0] == 3
        expected = oracles.pearson(group["stability"], group["delta_loss"])
        assert row["pearson"].iloc[0] == pytest.approx(expected, abs=1e-12)
        assert row["mean_delta_loss"].iloc[0] == pytest.approx(group["delta_loss"].mean())
    overall = table[table["refit"] == "all"]
    assert len(overall) == 2 * 4
    assert overall["kendall"].mean() == pytest.approx(
        table[table["refit"] != "all"]["kendall"].mean()
    )


def test_heads_table_refuses_doubled_heads(stability):
    ablations = by_method(stability)
    doubled = pd.concat([ablations, ablations.iloc[:1]])
    with pytest.raises(pd.errors.MergeError):
        ablation_tables.heads_tables(stability, doubled)


def test_dead_layers_cost_under_a_tenth_of_the_undecayed(stability):
    ablations = by_method(stability).assign(delta_loss=1.0)
    decayed = (ablations["weight_decay"] == "0.1") & (ablations["method"] == "zero")
    ablations.loc[decayed & (ablations["layer"] == 2), "delta_loss"] = [0.0, 0.0, 0.29] * 3
    ablations.loc[decayed & (ablations["layer"] == 1), "delta_loss"] = [0.0, 0.0, 0.31] * 3
    table = ablation_tables.dead_heads_table(ablations)
    flagged = table[table["dead"].astype(bool)]
    assert flagged[["weight_decay", "method", "layer"]].to_numpy().tolist() == [["0.1", "zero", 2]]
    assert flagged["mean_delta_loss"].iloc[0] == pytest.approx(0.29 / 3)
    heads = ablation_tables.heads_tables(stability, ablations)["heads"]
    assert heads["dead"].sum() == 9
    assert set(heads[heads["dead"]]["layer"]) == {2}
    alone = ablation_tables.dead_heads_table(ablations[ablations["weight_decay"] == "0.1"])
    assert alone[["dead", "reference"]].isna().all(axis=None)


def test_stacking_conditions(tmp_path):
    pattern = f"{tmp_path}/{{architecture}}/wd{{weight_decay}}/{{refit}}.csv"
    paths = [tmp_path / "x" / f"wd{decay}" / "seed1.csv" for decay in ("0", "0.1")]
    for path in paths:
        write_csv(path, pd.DataFrame({"layer": [1, 2]}))
    labels = ("architecture", "weight_decay", "refit")
    stacked = reading.read_labelled(paths, pattern, labels)
    assert stacked.columns.tolist() == ["architecture", "weight_decay", "refit", "layer"]
    assert stacked["weight_decay"].tolist() == ["0", "0", "0.1", "0.1"]


def test_tables_of_refits_are_labelled(tmp_path):
    paths = [tmp_path / name for name in "ab"]
    for number, path in enumerate(paths):
        write_csv(path, pd.DataFrame({"head": [1, 2], "value": number}))
    table = reading.read_refits(["seed2", "seed10"], paths)
    assert list(table) == ["refit", "head", "value"]
    assert table["value"].tolist() == [0, 0, 1, 1]
    assert table["refit"].tolist() == ["seed2"] * 2 + ["seed10"] * 2
    with pytest.raises(ValueError, match="zip"):
        reading.read_refits(["seed2"], paths)


def test_tables_of_cells_are_labelled_refits_of_a_condition_together(tmp_path):
    pattern = f"{tmp_path}/wd{{weight_decay}}/{{refit}}.csv"
    cells = [(decay, refit) for decay in ("0", "0.1") for refit in ("seed2", "seed10")]
    paths = [tmp_path / f"wd{decay}" / f"{refit}.csv" for decay, refit in cells]
    for number, path in enumerate(paths):
        write_csv(path, pd.DataFrame({"head": [1, 2], "value": number}))
    table = reading.read_labelled(paths, pattern, ("weight_decay", "refit"))
    assert list(table) == ["weight_decay", "refit", "head", "value"]
    assert table["value"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert table["refit"].tolist() == (["seed2"] * 2 + ["seed10"] * 2) * 2
    assert table["weight_decay"].tolist() == ["0"] * 4 + ["0.1"] * 4
