"""Tables and the figure of recurrence, from statistics with all their leave-one-out values."""

import numpy as np
import oracles_adjusted as oracles
import pandas as pd
import pytest
from looks import LOOK

from headstability.plots import recurrence as plots
from headstability.plots import style
from headstability.tables.adjusted import CROSSED
from headstability.tables.recurrence import identity_table, recurrence_table

NAMES = [f"seed{number}" for number in range(1, 6)]
SEEDS = {name: [number, number] for number, name in enumerate(NAMES, start=1)}
CROSS = dict(zip(NAMES, ([1, 1], [1, 2], [2, 1], [2, 2], [3, 3]), strict=True))
DECAYS, LAYERS, GROUPS = ("0", "0.1"), 3, 4
STATISTICS = {"mu": 0.2, "T": 0.4, "T0": 0.05, "rho": 0.4}


def shared_table(seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for decay in DECAYS:
        for layer in range(1, LAYERS + 1):
            for statistic, value in STATISTICS.items():
                left = [("", ""), *(("refit", name) for name in NAMES)]
                left += [("group", str(group + 1)) for group in range(GROUPS)]
                key = {"architecture": "deep", "weight_decay": decay, "layer": layer}
                key |= {"measure": "text", "statistic": statistic}
                rows += [
                    {**key, "left_out": kind, "unit": unit, "value": value + 0.02 * rng.normal()}
                    for kind, unit in left
                ]
    return pd.DataFrame(rows)


def twins_table(seed=1):
    rng = np.random.default_rng(seed)
    rows = []
    for decay, other in (DECAYS, DECAYS[::-1]):
        for layer in range(1, LAYERS + 1):
            for name in NAMES:
                for group in range(GROUPS + 1):
                    key = {"architecture": "deep", "weight_decay": decay, "layer": layer}
                    key |= {"other_weight_decay": other, "refit": name, "group": group}
                    alike = {"similarity": 0.9 + 0.01 * rng.normal(), "same_index": 0.75}
                    rows.append({**key, "measure": "text", **alike})
    return pd.DataFrame(rows)


def made(twins=None, untrained=None, crossed=False, seeds=SEEDS):
    return recurrence_table(shared_table(), untrained, twins, seeds, crossed)


def leave_out_values(table, decay, statistic, layer):
    rows = table[(table["weight_decay"] == decay) & (table["statistic"] == statistic)]
    rows = rows[rows["layer"] == layer].set_index(["left_out", "unit"])["value"]
    refits = [rows["refit", name] for name in NAMES]
    groups = [rows["group", str(group + 1)] for group in range(GROUPS)]
    return rows["", ""], np.array(refits), np.array(groups)


def jackknife(values):
    count = len(values)
    return np.sqrt((count - 1) / count * np.square(values - values.mean()).sum())


def test_intervals_add_refits_and_prompts():
    table = made().set_index(["weight_decay", "statistic", "layer"])
    shared = shared_table()
    for decay in DECAYS:
        for statistic in STATISTICS:
            parts = [leave_out_values(shared, decay, statistic, n + 1) for n in range(LAYERS)]
            every = {str(n + 1): part for n, part in enumerate(parts)}
            every["all"] = tuple(np.mean(of, axis=0) for of in zip(*parts, strict=True))
            for layer, (value, refits, groups) in every.items():
                row = table.loc[(decay, statistic, layer)]
                assert row["value"] == pytest.approx(value)
                assert row["se_refit"] == pytest.approx(jackknife(refits))
                assert row["se_prompt"] == pytest.approx(jackknife(groups))
                reach = 2.7764451051977987 * np.hypot(row["se_refit"], row["se_prompt"])  # t, 4
                assert row["low"] == pytest.approx(value - reach)


def test_the_ceiling_is_that_of_twins():
    twins = twins_table()
    table = made(twins).set_index(["weight_decay", "statistic", "layer"])
    shared = shared_table()
    for decay in DECAYS:
        rows = twins[(twins["weight_decay"] == decay) & (twins["group"] == 0)]
        for layer in range(1, LAYERS + 1):
            alike = rows[rows["layer"] == layer].set_index("refit")["similarity"]
            t, t0, mu = (leave_out_values(shared, decay, name, layer) for name in ("T", "T0", "mu"))
            expected = (t[0] - t0[0]) / (alike.mean() - mu[0] - t0[0])
            row = table.loc[(decay, "rho", str(layer))]
            assert row["value"] == pytest.approx(expected)
            without = [
                (t[1][i] - t0[1][i]) / (alike.drop(name).mean() - mu[1][i] - t0[1][i])
                for i, name in enumerate(NAMES)
            ]
            assert row["se_refit"] == pytest.approx(jackknife(np.array(without)))
            assert table.loc[(decay, "ceiling", str(layer)), "value"] == pytest.approx(alike.mean())


def test_the_untrained_reference_stands_beside_every_weight_decay():
    first = shared_table(7)
    first = first[first["weight_decay"] == "0"].drop(columns="weight_decay")
    table = made(untrained=first)
    rows = table[table["statistic"].isin(["mu_untrained", "rho_untrained"])]
    assert len(rows) == 2 * 2 * (LAYERS + 1)
    mu = first[(first["statistic"] == "mu") & (first["layer"] == 1) & (first["left_out"] == "")]
    here = rows[(rows["statistic"] == "mu_untrained") & (rows["layer"] == "1")]
    assert here["value"].tolist() == [mu["value"].item()] * 2


def test_crossed_seeds_have_values_but_no_intervals():
    table = made(crossed=True, seeds=CROSS)
    assert table["value"].notna().all()
    assert table[["se_refit", "low", "high"]].isna().all(axis=None)
    assert set(table["reason"]) == {CROSSED}


def identity_rows(seed=2):
    rng = np.random.default_rng(seed)
    rows = []
    for layer in range(1, LAYERS + 1):
        for a, one in enumerate(NAMES):
            for other in NAMES[a + 1 :]:
                key = {"architecture": "deep", "weight_decay": "0", "layer": layer}
                key |= {"refit_a": one, "refit_b": other, "measure": "text"}
                rows.append({**key, "same_index": rng.integers(0, 5) / 4})
    return pd.DataFrame(rows)


def test_shares_of_the_same_index_are_those_of_the_pairs():
    rows = identity_rows()
    table = identity_table(rows, twins_table(), SEEDS, {"deep": 4}, False)
    assert set(table["pairs_share"]) == {"twins", "neither seed"}
    assert set(table["chance"]) == {0.25}
    assert (table[table["pairs_share"] == "twins"]["value"] == 0.75).all()
    for layer in range(1, LAYERS + 1):
        k = np.full((5, 5), np.nan)
        for row in rows[rows["layer"] == layer].itertuples():
            a, b = NAMES.index(row.refit_a), NAMES.index(row.refit_b)
            k[a, b] = k[b, a] = row.same_index
        found = table[(table["layer"] == layer) & (table["pairs_share"] == "neither seed")].iloc[0]
        assert found["value"] == pytest.approx(oracles.mean_of_pairs(k, range(5)))
        se = oracles.jackknife(lambda kept, k=k: oracles.mean_of_pairs(k, kept), 5)
        assert found["se_refit"] == pytest.approx(se)


def test_pairs_are_told_apart_by_the_seeds_they_share():
    rows = identity_rows()
    table = identity_table(rows, None, CROSS, {"deep": 4}, True)
    assert set(table["pairs_share"]) == {"init seed", "data seed", "neither seed"}
    same_init = [("seed1", "seed2"), ("seed3", "seed4")]
    pairs = zip(rows["refit_a"], rows["refit_b"], strict=True)
    chosen = rows[[pair in same_init for pair in pairs]]
    found = table[table["pairs_share"] == "init seed"].set_index("layer")["value"]
    assert found.to_dict() == pytest.approx(chosen.groupby("layer")["same_index"].mean().to_dict())


@pytest.mark.parametrize("twins", [None, twins_table()])
def test_the_figure_shows_the_table(twins):
    style.set_style()
    table = made(twins)
    raw = pd.DataFrame(
        {
            "architecture": "deep",
            "weight_decay": decay,
            "anchor": anchor,
            "layer": layer,
            "stability": 0.9 - 0.1 * layer,
            "refits": 5,
        }
        for decay in DECAYS
        for anchor in ("all", *NAMES)
        for layer in range(1, LAYERS + 1)
    )
    figure = plots.recurrence(table, raw, {**LOOK, "weight_decays": list(DECAYS), "anchor": "all"})
    above, shared, specific = figure.axes
    assert len(above.get_lines()) == 2 * 6
    for panel, statistic in ((shared, "mu"), (specific, "rho")):
        drawn = [list(line.get_ydata()) for line in panel.get_lines()]
        for decay in DECAYS:
            rows = table[(table["statistic"] == statistic) & (table["weight_decay"] == decay)]
            values = rows[rows["layer"] != "all"]["value"].tolist()
            assert values in drawn
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert any("twins" in text for text in texts) is (twins is not None)
