"""The table and the figure of adjusted measures, from measured tables."""

import itertools

import numpy as np
import oracles_adjusted as oracles
import pandas as pd
import pytest
from looks import LOOK

from headstability.plots import adjusted as plots
from headstability.plots import style
from headstability.tables.adjusted import CROSSED, adjusted_table

NAMES = ["init1-data1", "init1-data2", "init2-data1", "init2-data2"]
SEEDS = dict(zip(NAMES, ((1, 1), (1, 2), (2, 1), (2, 2)), strict=True))
OWN = {name: (number, number) for number, name in enumerate(NAMES, start=1)}
MEASURED = ["raw", "shuffled", "excess", "centred", "z_cka"]


def measured(seed=0):
    """Pairs and values without groups of prompts of one architecture, and its pairs at step 0."""
    rng = np.random.default_rng(seed)
    pairs, without, start = [], [], []
    for layer, (a, b) in itertools.product((1, 2), itertools.combinations(NAMES, 2)):
        pair = {"refit_a": a, "refit_b": b, "layer": layer}
        label = {"architecture": "deep", **pair}
        start += [{**label, "stability": rng.random()}]
        start.append({**start[-1], "refit_a": b, "refit_b": a})
        for decay, name in itertools.product(("0", "0.1"), MEASURED):
            row = {**label, "weight_decay": decay, "measure": name, "stability": rng.random()}
            pairs.append(row)
    for decay, layer, name, group in itertools.product(
        ("0", "0.1"), (1, 2), MEASURED[:-1], (1, 2, 3)
    ):
        key = {"architecture": "deep", "weight_decay": decay, "layer": layer}
        without.append({**key, "measure": name, "group": group, "stability": rng.random()})
    return pd.DataFrame(pairs), pd.DataFrame(without), pd.DataFrame(start)


# The centred measure of heads dealt at random: .2 in layer 1, .3 in layer 2, whatever is left out.
SHARED = pd.DataFrame(
    {
        "architecture": "deep",
        "weight_decay": decay,
        "layer": layer,
        "measure": "centred",
        "statistic": "S0",
        "left_out": left,
        "unit": unit,
        "value": 0.1 + 0.1 * layer,
    }
    for decay in ("0", "0.1")
    for layer in (1, 2)
    for left, unit in (("", ""), *(("refit", name) for name in NAMES))
)


def made(seeds=OWN, crossed=False, with_start=True):
    pairs, without, start = measured()
    return adjusted_table(pairs, without, SHARED, start if with_start else None, seeds, crossed)


def matrix(rows):
    found = np.full((4, 4), np.nan)
    for row in rows.itertuples():
        a, b = NAMES.index(row.refit_a), NAMES.index(row.refit_b)
        found[a, b] = found[b, a] = row.stability
    return found


def test_values_and_intervals_agree_with_loops():
    table = made().set_index(["weight_decay", "measure", "layer"])
    pairs, without, start = measured()
    for (decay, name, layer), rows in pairs.groupby(["weight_decay", "measure", "layer"]):
        k = matrix(rows)
        row = table.loc[(decay, name, layer)]
        assert row["value"] == pytest.approx(oracles.mean_of_pairs(k, range(4)))
        se = oracles.jackknife(lambda kept, k=k: oracles.mean_of_pairs(k, kept), 4)
        assert row["se_refit"] == pytest.approx(se)
        if name == "z_cka":
            assert np.isnan(row["se_prompt"])
            prompt = 0.0
        else:
            chosen = (without["weight_decay"] == decay) & (without["layer"] == layer)
            left = without[chosen & (without["measure"] == name)]["stability"].to_numpy()
            prompt = np.sqrt(2 / 3 * ((left - left.mean()) ** 2).sum())
            assert row["se_prompt"] == pytest.approx(prompt)
        reach = 3.182446305284263 * np.hypot(se, prompt)  # t with 3 degrees of freedom
        assert row["low"] == pytest.approx(row["value"] - reach)
        assert row["high"] == pytest.approx(row["value"] + reach)
    for layer, rows in start.groupby("layer"):
        both = table.loc[[("0", "untrained", layer), ("0.1", "untrained", layer)], "value"]
        assert np.allclose(both, oracles.mean_of_pairs(matrix(rows), range(4)))
    assert np.allclose(table.loc[("0", "centred_chance")]["value"], [0.2, 0.3])
    raw, null = (table.loc[("0", name)]["value"] for name in ("raw", "shuffled"))
    normalised = table.loc[("0", "normalised_excess")]["value"]
    assert np.allclose(normalised, (raw - null) / (1 - null))


def test_untrained_refits_that_start_equal_are_not_compared():
    table = made(SEEDS, crossed=True)
    _, _, start = measured()
    differ = start["refit_a"].str[:5] != start["refit_b"].str[:5]
    expected = start[differ].groupby("layer")["stability"].mean()
    found = table[(table["measure"] == "untrained") & (table["weight_decay"] == "0")]
    assert np.allclose(found["value"], expected)
    assert table[["se_refit", "low", "high"]].isna().all(axis=None)
    assert set(table[table["measure"] == "raw"]["reason"]) == {CROSSED}
    assert table[table["measure"] == "raw"]["value"].notna().all()


def test_what_is_not_defined_is_said():
    pairs, without, start = measured()
    pairs.loc[pairs["measure"] == "z_cka", "stability"] = np.nan
    table = adjusted_table(pairs, without, SHARED, start, OWN, False)
    rows = table[table["measure"] == "z_cka"]
    assert rows["value"].isna().all()
    assert set(rows["reason"]) == {"not defined on these prompts"}
    assert table[table["measure"] == "raw"]["reason"].isna().all()


@pytest.mark.parametrize("with_start", [True, False])
def test_the_figure_shows_the_table(with_start):
    style.set_style()
    table = made(with_start=with_start)
    figure = plots.adjusted(table, LOOK)
    assert len(figure.axes) == 4 - 1, "no measure of the third row was computed"
    drawn = {}
    for axes in figure.axes:
        for line in axes.get_lines():
            drawn.setdefault(line.get_label(), []).append(line.get_ydata())
    for name in ("raw", "shuffled", "excess", "centred", "z_cka"):
        for decay, values in zip(("0", "0.1"), drawn[name], strict=True):
            rows = table[(table["measure"] == name) & (table["weight_decay"] == decay)]
            assert np.array_equal(values, rows["value"])
    assert len(drawn["centred_chance"]) == 2
    assert ("untrained" in drawn) is with_start
    title = figure.legends[0].get_title().get_text()
    assert ("no untrained reference" in title) is not with_start
