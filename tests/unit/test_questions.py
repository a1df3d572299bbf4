"""Origin, dose response, time course and refits needed, on refits whose truth is known."""

import numpy as np
import oracles_adjusted as oracles
import pandas as pd
import pytest
from benchmarks.simulated import noise_of_pairs
from scipy import stats
from test_variance import crossed, simulated

from headstability.measures import variance
from headstability.tables.intervals import INTERVAL
from headstability.tables.questions import dose_table, origin_table, refits_needed_table
from headstability.tables.time_course import time_course_table

CONDITIONS = [("deep", "0"), ("deep", "0.1")]


def seeds_of(inits, data):
    return {f"init{i}-data{d}": [int(i), int(d)] for i, d in zip(inits, data, strict=True)}


def independent(count):
    return {f"seed{n}": [n, n] for n in range(1, count + 1)}


def rows_of(k, names, **labels):
    """Ordered pairs of k, [layer, refit, refit], in an order of their own."""
    rows = [
        {"refit_a": a, "refit_b": b, "layer": layer + 1, "stability": k[layer, i, j], **labels}
        for layer in range(len(k))
        for j, b in enumerate(names)
        for i, a in enumerate(names)
        if i != j
    ]
    return pd.DataFrame(rows)


def labelled(architecture, decay):
    return {"architecture": architecture, "weight_decay": decay}


def pairs_table(k, names):
    """The same similarities, less .1 a condition, for both conditions."""
    parts = [rows_of(k - 0.1 * n, names, **labelled(*c)) for n, c in enumerate(CONDITIONS)]
    return pd.concat(parts, ignore_index=True)


def shared_table(pairs):
    """`shared.csv` in which S, mu and rho are the mean over pairs of the same similarities."""
    rows = []
    keys = [name for name in ("architecture", "weight_decay", "step") if name in pairs]
    for key, part in pairs.groupby([*keys, "layer"], sort=False):
        labels = dict(zip([*keys, "layer"], key, strict=True))
        names = sorted(part["refit_a"].unique())
        for statistic in (("raw", "S"), ("text", "mu"), ("text", "rho")):
            for left in ("", *names):
                kept = part[(part["refit_a"] != left) & (part["refit_b"] != left)]
                out = {"left_out": "refit" if left else "", "unit": left}
                named = dict(zip(("measure", "statistic"), statistic, strict=True))
                rows.append({**labels, **named, **out, "value": kept["stability"].mean()})
    return pd.DataFrame(rows)


def mean_over_pairs(k, kept):
    return np.mean([k[i, j] for i in kept for j in kept if i != j])


def reach(se, degrees):
    return stats.t.ppf(0.975, degrees) * se


# --- origin -------------------------------------------------------------------------------


def test_planted_origins_are_found():
    planted = {"init": 0.3, "data": 0.1, "rest": 0.2}
    rng = np.random.default_rng(0)
    first, init, data = simulated(rng, 4, 4, tuple(planted.values()))
    second, *_ = simulated(rng, 4, 4, (0.0, 0.0, 0.6))
    seeds = seeds_of(init, data)
    table = origin_table(pairs_table(np.array([first, second]), list(seeds)), seeds)
    # layers and their mean; 3 classes and 3 components
    assert len(table) == 2 * 3 * 6
    assert table.groupby("quantity")["pairs"].count().to_dict() == {"similarity": 18, "variance": 0}
    counts = table.query("quantity == 'similarity'").groupby("source")["pairs"].first().to_dict()
    assert counts == {"init": 24, "data": 24, "neither": 72}
    assert (table[["init_seeds", "data_seeds"]] == 4).all(axis=None)
    found = table.query("weight_decay == '0' and quantity == 'variance'").set_index(
        ["layer", "source"]
    )
    for source, size in planted.items():
        row = found.loc[("1", source)]
        assert row["estimate"] == pytest.approx(size, abs=0.03)
        assert row["low"] < row["estimate"] < row["high"]
        assert row["reason"] == ""
        both = found.loc[("1", source), "estimate"] + found.loc[("2", source), "estimate"]
        assert found.loc[("all", source), "estimate"] == pytest.approx(both / 2)
    assert found.loc[("2", "rest"), "estimate"] == pytest.approx(0.6, abs=0.03)
    assert abs(found.loc[("2", "init"), "estimate"]) < 0.03


def test_two_seeds_of_each_kind_have_no_interval_and_say_so():
    k, init, data = simulated(np.random.default_rng(1), 2, 2, (0.3, 0.1, 0.2))
    seeds = seeds_of(init, data)
    table = origin_table(pairs_table(k[None], list(seeds)), seeds)
    variances = table[table["quantity"] == "variance"]
    assert variances["estimate"].notna().all()
    assert variances[["se", "low", "high"]].isna().all(axis=None)
    assert set(variances["reason"]) == {"an interval needs at least 3 seeds of each kind"}


# --- intervals of means -------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 4), (5, 3)])
def test_means_of_crossed_refits_delete_seeds(shape):
    init, data = crossed(*shape)
    rng = np.random.default_rng(2)
    k = rng.random((len(init), len(init)))
    k = k + k.T
    own = rng.random(len(init))

    def squared_se(statistic):
        total = 0
        for seeds in (init, data):
            names = sorted(set(seeds.tolist()))

            def without(units, seeds=seeds, names=names):
                chosen = [names[unit] for unit in units]
                return statistic([r for r in range(len(init)) if seeds[r] in chosen])

            total += oracles.jackknife(without, len(names)) ** 2
        return total

    pairs = variance.mean_of_pairs(k[None], init, data)
    assert pairs.value[0] == pytest.approx(mean_over_pairs(k, range(len(init))))
    assert pairs.se[0] ** 2 == pytest.approx(squared_se(lambda kept: mean_over_pairs(k, kept)))
    refits = variance.mean_of_refits(own[:, None], init, data)
    assert refits.value[0] == pytest.approx(own.mean())
    assert refits.se[0] ** 2 == pytest.approx(squared_se(lambda kept: own[kept].mean()))
    assert pairs.degrees == refits.degrees == 2


def test_refits_with_one_seed_each_are_deleted_one_by_one():
    """Also where one of the seeds is the same for all."""
    rng = np.random.default_rng(3)
    k = rng.random((5, 5))
    k = k + k.T
    numbers, same = np.arange(5), np.zeros(5, dtype=int)
    expected = oracles.jackknife(lambda kept: mean_over_pairs(k, kept), 5)
    for init, data in ((numbers, numbers), (same, numbers), (numbers, same)):
        assert not variance.is_crossed(init, data)
        found = variance.mean_of_pairs(k[None], init, data)
        assert found.se[0] == pytest.approx(expected)
        assert found.degrees == 4


# --- dose ---------------------------------------------------------------------------------


def dose_of(count):
    seeds = independent(count)
    rng = np.random.default_rng(4)
    k = rng.random((2, count, count))
    k = (k + k.transpose(0, 2, 1)) / 2
    losses = rng.random((2, count))
    refits = pd.concat(
        pd.DataFrame({**labelled(*c), "refit": list(seeds)[::-1], "held_out_loss": losses[n][::-1]})
        for n, c in enumerate(CONDITIONS)
    )
    pairs = pairs_table(k, list(seeds))
    table = dose_table(pairs, shared_table(pairs), None, refits, seeds, 2e-3, 700)
    return k, losses, table


def test_dose_response_agrees_with_loops():
    k, losses, table = dose_of(5)
    assert table["dose"].drop_duplicates().tolist() == pytest.approx([0, 0.14])
    table = table.set_index(["weight_decay", "measure", "layer"])
    for number, decay in enumerate(("0", "0.1")):
        layers = {"1": k[0], "2": k[1], "all": k.mean(axis=0)}
        for layer, matrix in layers.items():
            row = table.loc[(decay, "stability", layer)]
            assert row["estimate"] == pytest.approx(
                mean_over_pairs(matrix, range(5)) - 0.1 * number
            )
            se = oracles.jackknife(lambda kept, m=matrix: mean_over_pairs(m, kept), 5)
            assert row["se"] == pytest.approx(se)
            assert row["high"] - row["estimate"] == pytest.approx(reach(se, 4))
        row = table.loc[(decay, "held_out_loss", "all")]
        assert row["estimate"] == pytest.approx(losses[number].mean())
        assert row["se"] == pytest.approx(losses[number].std(ddof=1) / np.sqrt(5))
    assert len(table) == 2 * (3 * 3 + 1)


def test_prompts_and_crossed_seeds_count_in_intervals():
    """Without prompts the interval is that over refits; with them it is the adjusted table's."""
    seeds = independent(4)
    k = np.random.default_rng(8).random((2, 4, 4))
    pairs = pairs_table((k + k.transpose(0, 2, 1)) / 2, list(seeds))
    shared = shared_table(pairs)
    whole = shared[shared["left_out"] == ""]
    groups = [
        whole.assign(left_out="group", unit=str(g), value=whole["value"] + 0.01 * g)
        for g in (1, 2, 3)
    ]
    refits = pd.concat(
        pd.DataFrame({**labelled(*c), "refit": list(seeds), "held_out_loss": 1.0})
        for c in CONDITIONS
    )
    found = dose_table(pairs, pd.concat([shared, *groups]), None, refits, seeds, 2e-3, 700)
    plain = dose_table(pairs, shared, None, refits, seeds, 2e-3, 700)
    se_prompt = np.sqrt(2 / 3 * 2) * 0.01
    rows = found["measure"] != "held_out_loss"
    assert np.allclose(found["se"][rows] ** 2, plain["se"][rows] ** 2 + se_prompt**2)


def test_two_refits_have_no_interval_and_say_so():
    _, _, table = dose_of(2)
    rows = table[table["measure"] == "stability"]
    assert rows["estimate"].notna().all()
    assert rows[["se", "low", "high"]].isna().all(axis=None)
    assert set(rows["reason"]) == {"an interval needs at least 3 refits"}


# --- time course --------------------------------------------------------------------------


def test_time_course_agrees_with_loops():
    seeds, steps = independent(4), [0, 15, 60]
    names = list(seeds)
    rng = np.random.default_rng(5)
    k, effects, parts, ablations = {}, {}, [], []
    for condition in CONDITIONS:
        for step in steps:
            matrix = rng.random((2, 4, 4))
            k[condition, step] = (matrix + matrix.transpose(0, 2, 1)) / 2
            labels = {**labelled(*condition), "step": step}
            parts.append(rows_of(k[condition, step], names, **labels))
            effects[condition, step] = rng.random((4, 2, 3))  # refit, layer, head
            for place in np.ndindex(4, 2, 3):
                refit, layer, head = place
                row = {**labels, "refit": names[refit], "layer": layer + 1, "head": head + 1}
                value = effects[condition, step][place]
                ablations += [
                    {**row, "method": "zero", "delta_loss": value},
                    {**row, "method": "mean", "delta_loss": value / 2},
                ]
    pairs = pd.concat(parts, ignore_index=True)
    table = time_course_table(pairs, shared_table(pairs), None, pd.DataFrame(ablations), seeds, 100)
    assert len(table) == len(CONDITIONS) * len(steps) * 3 * 5
    assert (table["tokens"] == table["step"] * 100).all()
    measures = ["stability", "mu", "rho", "delta_loss_zero", "delta_loss_mean"]
    assert table["measure"].unique().tolist() == measures
    for _, rows in table.groupby(["architecture", "weight_decay", "measure", "layer"]):
        assert rows["step"].tolist() == steps, "in the order of training"
    index = ["architecture", "weight_decay", "step", "measure", "layer"]
    table = table.set_index(index)
    for condition in CONDITIONS:
        for step in steps:
            row = table.loc[(*condition, step, "stability", "2")]
            matrix = k[condition, step][1]
            assert row["estimate"] == pytest.approx(mean_over_pairs(matrix, range(4)))
            own = effects[condition, step].mean(axis=2)
            for layer, values in {"1": own[:, 0], "all": own.mean(axis=1)}.items():
                row = table.loc[(*condition, step, "delta_loss_mean", layer)]
                assert row["estimate"] == pytest.approx(values.mean() / 2)
                assert row["se"] == pytest.approx(values.std(ddof=1) / 2 / np.sqrt(4))


# --- refits needed ------------------------------------------------------------------------


def needed_of(count, width=0.5, draws=30):
    k = noise_of_pairs(np.random.default_rng(6), (2,), count, 1.0)
    names = list(independent(count))
    return k, refits_needed_table(pairs_table(k, names), names, width, draws, 3)


def test_widths_and_the_refits_needed():
    k, table = needed_of(12)
    part = table[(table["weight_decay"] == "0") & (table["layer"] == "2")]
    drawn, expected = (part[part["source"] == name] for name in ("drawn", "expected"))
    assert drawn["refits"].tolist() == list(range(3, 13))
    se = oracles.jackknife(lambda kept: mean_over_pairs(k[1], kept), 12)
    assert drawn["width"].iloc[-1] == pytest.approx(2 * reach(se, 11))
    assert (drawn["width_low"] <= drawn["width"]).all()
    assert (drawn["width"] <= drawn["width_high"]).all()
    needed = part["needed"].iloc[0]
    assert needed == variance.refits_needed(variance.pair_variance(k[1]), 0.5)
    widths = expected.set_index("refits")["width"]
    assert widths.is_monotonic_decreasing
    assert widths[needed] <= 0.5
    known = variance.pair_variance(k[1])
    for refits, width in widths.items():
        se = np.sqrt(4 / refits * (known.node + known.pair / (refits - 2)))
        assert width == pytest.approx(2 * reach(se, refits - 1))
    assert (table["reason"] == "").all()
    again = needed_of(12)[1]
    pd.testing.assert_frame_equal(table, again)


@pytest.mark.parametrize(("count", "rows"), [(2, 1), (3, 1)])
def test_too_few_refits_are_told(count, rows):
    _, table = needed_of(count)
    assert len(table) == 2 * 3 * rows
    assert table["needed"].isna().all()
    assert table["width"].notna().all() == (count == 3)
    assert table["reason"].str.contains("how many are needed shows from 4 refits on").all()


def test_what_no_number_of_refits_reaches():
    _, table = needed_of(5, width=1e-6)
    assert table["needed"].isna().all()
    assert set(table["reason"]) == {"10,000 refits are not enough"}


def test_every_table_of_estimates_has_the_same_columns():
    _, _, table = dose_of(3)
    assert INTERVAL == ["estimate", "se", "low", "high", "reason"]
    assert set(INTERVAL) < set(table.columns)
