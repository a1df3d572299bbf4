"""Questions to a study: roles of trained cells against naive loops, and what is planned."""

import json

import numpy as np
import oracles
import oracles_adjusted
import pandas as pd
import pytest
from driver import ROOT, SMOKE, snakemake
from safetensors.numpy import load_file
from write_graph import CROSSED

from headstability.measures.roles import ROLES, repeated_prompts

SHAPES = {"one": (1, 16), "two": (2, 4)}  # layers, heads
STEP = 30


@pytest.mark.parametrize("architecture", SHAPES)
def test_roles_of_trained_heads_agree_with_a_float64_model(smoke, architecture):
    layers, heads = SHAPES[architecture]
    results = smoke / "results/smoke"
    table = pd.read_csv(results / "tables/roles.csv")
    prompts = json.loads((results / "corpus/prompts/passages.json").read_text())
    # The context of 32 holds BOS and 15 tokens twice.
    synthetic = repeated_prompts(300, prompts["bos"], 20, 15, seed=0)
    weights = f"cells/{architecture}/wd0.1/seed2/checkpoints/step{STEP}.safetensors"
    model = oracles.Model(load_file(results / weights), layers, heads)
    chosen = table[
        (table["architecture"] == architecture)
        & (table["weight_decay"] == 0.1)
        & (table["refit"] == "seed2")
    ]
    assert len(chosen) == 2 * layers * heads
    for text, tokens in (("prompts", prompts["tokens"]), ("synthetic", synthetic)):
        runs = [model.run(prompt)[0] for prompt in tokens]
        rows = chosen[chosen["text"] == text].set_index(["layer", "head"])
        for layer, head in np.ndindex(layers, heads):
            patterns = [np.asarray(run[layer][head]) for run in runs]
            expected = oracles_adjusted.role_scores(patterns, tokens)
            for role in ROLES:
                found = rows.loc[(layer + 1, head + 1), role]
                assert found == pytest.approx(expected[role], abs=1e-5, nan_ok=True)


def test_the_dose_table_is_the_mean_over_pairs(smoke):
    results = smoke / "results/smoke"
    table = pd.read_csv(results / "tables/dose.csv", dtype={"weight_decay": str})
    for architecture, (layers, _) in SHAPES.items():
        for decay in ("0", "0.1"):
            home = results / f"conditions/{architecture}/wd{decay}"
            pairs = pd.read_csv(home / f"step{STEP}/stability/passages/pairs.csv")
            shared = pd.read_csv(home / f"step{STEP}/adjusted/passages/shared.csv")
            shared = shared[(shared["measure"] == "text") & shared["left_out"].isna()]
            shared = shared.set_index(["layer", "statistic"])["value"]
            losses = pd.read_csv(home / "refits.csv")["held_out_loss"]
            rows = table[
                (table["architecture"] == architecture) & (table["weight_decay"] == decay)
            ].set_index(["measure", "layer"])
            for layer in range(1, layers + 1):
                mean = pairs.loc[pairs["layer"] == layer, "stability"].mean()
                found = rows.loc[("stability", str(layer)), "estimate"]
                assert found == pytest.approx(mean, abs=1e-9)
                found = rows.loc[("mu", str(layer)), "estimate"]
                assert found == pytest.approx(shared[layer, "mu"], abs=1e-9)
                assert np.isnan(rows.loc[("rho", str(layer)), "estimate"]), "two refits"
            found = rows.loc[("held_out_loss", "all"), "estimate"]
            assert found == pytest.approx(losses.mean(), abs=1e-9)
            # Learning rate 0.01, 30 steps.
            assert rows["dose"].tolist() == pytest.approx([0.3 * float(decay)] * len(rows))


def test_crossed_seeds_and_steps_are_planned(tmp_path):
    (tmp_path / "crossed.yaml").write_text(CROSSED)
    study = ("--configfile", tmp_path / "crossed.yaml", "--dry-run")
    planned = snakemake(ROOT, *study)
    for decay in ("0", "0.1"):
        for refit in ("init1-data1", "init1-data2", "init2-data1", "init2-data2"):
            for step in (0, 10, 30):
                cached = f"Caching one, wd {decay}, {refit}, step {step}, on passages"
                assert planned.count(f": {cached}") == 1
    assert ": Figure: where instability comes from" in planned
    assert ": Figure: time course" in planned
    assert ": Figure: how many refits are needed" not in planned
    explained = snakemake(ROOT, "refits_needed", *study, ok=False)
    assert "Error: study 'crossed': refits_needed needs refits that are independent" in explained


@pytest.mark.parametrize(
    ("target", "key"),
    [
        ("origin", "set refits to {init_seeds"),
        ("time_course", "time_course.steps"),
        ("results/smoke/figures/origin.png", "set refits to {init_seeds"),
        ("results/smoke/tables/time_course.csv", "time_course.steps"),
    ],
)
def test_a_figure_the_study_cannot_draw_is_explained_in_one_message(target, key):
    output = snakemake(ROOT, target, *SMOKE, "--dry-run", ok=False)
    said = output.split("Building DAG of jobs...\n")[1].strip()
    assert said.startswith("Error: study 'smoke': ")
    assert key in said
    assert len(said.splitlines()) == 1
