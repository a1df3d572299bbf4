"""A study that crosses seeds and follows training: where instability comes from, and when."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from driver import jobs, snakemake, write_study, write_text
from results_page import quoted, said_of

REFITS = [f"init{init}-data{data}" for init in (1, 2) for data in (1, 2)]
STEPS = (0, 10, 30)
HOME = "results/crossed/conditions/one/wd0.1"


@pytest.fixture(scope="module")
def crossed(smoke):
    """The folder and Snakemake's arguments for the finished study."""
    study = write_study(
        smoke,
        "crossed",
        architectures={"one": {"layers": 1, "heads": 2, "d_model": 16}},
        refits={"init_seeds": [1, 2], "data_seeds": [1, 2]},
        weight_decays=[0.1],
        corpus=write_text(smoke, "crossed.txt"),
        training={"checkpoint_steps": [0, 10]},
        time_course={"steps": [0, 10]},
        figures={"include": ["origin", "time_course"]},
    )
    snakemake(smoke, "--cores", "2", *study)
    return smoke, study


def read(folder, name):
    return pd.read_csv(folder / name, dtype={"layer": str})


def test_every_figure_is_there_and_nothing_is_left_to_do(crossed):
    folder, study = crossed
    for name in ("origin", "time_course"):
        for ending in ("pdf", "png"):
            assert (folder / f"results/crossed/figures/{name}.{ending}").stat().st_size > 1000
        table = read(folder, f"results/crossed/tables/{name}.csv")
        assert list(table) == quoted(said_of(f"tables/{name}.csv"))
    assert jobs(folder, *study) == []


def test_pairs_are_told_by_the_seeds_they_share(crossed):
    folder, _ = crossed
    pairs = read(folder, f"{HOME}/step30/stability/passages/pairs.csv")
    both_ways = {(row.refit_a, row.refit_b): row.stability for row in pairs.itertuples()}
    shared = {"init": [], "data": [], "neither": []}
    for one, other in combinations(REFITS, 2):
        (init, data), (other_init, other_data) = one.split("-"), other.split("-")
        kind = "init" if init == other_init else "data" if data == other_data else "neither"
        shared[kind] += [value for pair, value in both_ways.items() if set(pair) == {one, other}]
    table = read(folder, "results/crossed/tables/origin.csv")
    found = table[(table["quantity"] == "similarity") & (table["layer"] == "1")]
    found = found.set_index("source")
    for kind, values in shared.items():
        assert found.loc[kind, "estimate"] == pytest.approx(np.mean(values), abs=1e-9)
        assert found.loc[kind, "pairs"] == 2


def test_measures_over_training_are_those_of_each_step(crossed):
    folder, _ = crossed
    table = read(folder, "results/crossed/tables/time_course.csv")
    table = table[table["layer"] == "1"].set_index(["step", "measure"])
    for step in STEPS:
        assert table.loc[(step, "stability"), "tokens"] == step * 8 * 32
        pairs = read(folder, f"{HOME}/step{step}/stability/passages/pairs.csv")
        stability = table.loc[(step, "stability"), "estimate"]
        assert stability == pytest.approx(pairs["stability"].mean(), abs=1e-9)
        effects = [
            read(folder, f"{HOME}/step{step}/ablation/passages/{refit}.csv") for refit in REFITS
        ]
        zeroed = pd.concat(effects).query("method == 'zero'")["delta_loss"]
        found = table.loc[(step, "delta_loss_zero"), "estimate"]
        assert found == pytest.approx(zeroed.mean(), abs=1e-9)
