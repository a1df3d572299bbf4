"""The smoke study as a user would run it, and its numbers against naive float64 loops."""

import csv
import hashlib
import json
import subprocess
import sys

import numpy as np
import oracles
import oracles_patterns
import pandas as pd
import pytest
from driver import SMOKE, jobs, snakemake
from matplotlib.image import imread
from safetensors.numpy import load_file

from headstability.registry.rows import FIGURES, ROWS
from headstability.storage.stores import open_cache, pattern_of

CONDITIONS = [(a, w) for a in ("one", "two") for w in ("0", "0.1")]
REFITS = ["seed1", "seed2"]
STEP = 30
SHAPES = {"one": (1, 16), "two": (2, 4)}  # layers, heads


def cell(smoke, architecture, decay, refit):
    return smoke / "results/smoke/cells" / architecture / f"wd{decay}" / refit


def named(pattern):
    if "{" not in pattern:
        return [pattern]
    return [pattern.format(architecture=a, weight_decay=w) for a, w in CONDITIONS]


# Figures for which the smoke study lacks crossed seeds, or steps.
UNDRAWN = {"origin", "time_course"}


def test_every_figure_has_its_table_beside_it(smoke):
    results = smoke / "results/smoke"
    drawn = [pattern for figure, pattern in FIGURES.items() if figure not in UNDRAWN]
    for pattern in drawn:
        for name in named(pattern):
            assert imread(results / f"figures/{name}.png").std() > 0.01, "the figure is blank"
            assert (results / f"figures/{name}.pdf").read_bytes().startswith(b"%PDF")
            assert len(pd.read_csv(results / f"tables/{name}.csv")) > 0
    tables = {str(p.relative_to(results / "tables"))[:-4] for p in results.glob("tables/**/*.csv")}
    made = [row for row in ROWS if row.name not in UNDRAWN and not row.on_request]
    assert tables == {name for row in made for path in row.tables.values() for name in named(path)}


def test_files_of_a_cell(smoke):
    for folder in (smoke / "results/smoke/cells").glob("*/*/*"):
        assert 5 <= sum(path.is_file() for path in folder.rglob("*")) <= 12


def test_a_second_run_does_nothing(smoke):
    assert "Nothing to be done" in snakemake(smoke, "--cores", "2", *SMOKE)


def test_short_names_and_paths_are_targets(smoke):
    png = "results/smoke/figures/layer_stability.png"
    (smoke / png).unlink()
    assert jobs(smoke, "layer_stability", *SMOKE) == ["Figure: layer stability"]
    assert jobs(smoke, "head_map", *SMOKE) == []
    assert jobs(smoke, png, *SMOKE) == ["Figure: layer stability"]
    snakemake(smoke, png, "--cores", "1", *SMOKE)
    assert jobs(smoke, *SMOKE) == []


@pytest.mark.parametrize(("architecture", "decay"), CONDITIONS)
def test_stability_agrees_with_naive_loops_over_the_caches(smoke, architecture, decay):
    layers, heads = SHAPES[architecture]
    caches = [
        open_cache(cell(smoke, architecture, decay, r) / f"caches/step{STEP}/passages.zarr.zip")
        for r in REFITS
    ]
    folder = smoke / f"results/smoke/conditions/{architecture}/wd{decay}/step{STEP}/stability"
    table = pd.read_csv(folder / "passages/heads.csv").set_index(["anchor", "layer", "head"])
    pairs = pd.read_csv(folder / "passages/pairs.csv").set_index(["refit_a", "refit_b", "layer"])
    for layer in range(1, layers + 1):
        triangles = [
            [
                [
                    (full := pattern_of(cache, layer, head, p)).values[np.tril_indices(len(full))]
                    for p in cache["prompt"].values
                ]
                for head in range(1, heads + 1)
            ]
            for cache in caches
        ]
        s, k = oracles.stability(triangles)
        for r, refit in enumerate(REFITS):
            for head in range(heads):
                found = table.loc[(refit, layer, head + 1), "stability"]
                assert found == pytest.approx(s[r, head], abs=1e-6)
        assert pairs.loc[("seed1", "seed2", layer), "stability"] == pytest.approx(k[0, 1], abs=1e-6)


@pytest.mark.parametrize(("architecture", "decay"), CONDITIONS)
def test_caches_and_ablation_agree_with_a_float64_model(smoke, architecture, decay):
    """The perplexity of every ablated head to 1e-5 of the whole model's, on a trained cell."""
    layers, heads = SHAPES[architecture]
    refit = "seed2"
    home = cell(smoke, architecture, decay, refit)
    model = oracles.Model(load_file(home / f"checkpoints/step{STEP}.safetensors"), layers, heads)
    prompts = json.loads((smoke / "results/smoke/corpus/prompts/passages.json").read_text())
    cache = open_cache(home / f"caches/step{STEP}/passages.zarr.zip")
    for number, tokens in enumerate(prompts["tokens"][:2], start=1):
        patterns, zs, mids, _ = model.run(tokens)
        here = cache.isel(position=(cache.position_prompt == number).values)
        for layer in range(layers):
            assert np.allclose(here["resid_mid"][layer], mids[layer], atol=1e-5)
            for head in range(heads):
                found = pattern_of(cache, layer + 1, head + 1, number)
                assert np.allclose(found, patterns[layer][head], atol=1e-5)
                assert np.allclose(here["z"][layer, head], zs[layer][head], atol=1e-5)
    condition = f"results/smoke/conditions/{architecture}/wd{decay}/step{STEP}"
    table = pd.read_csv(smoke / condition / f"ablation/passages/{refit}.csv")
    total, count = model.nll(prompts["tokens"], prompts["bos"])
    base = np.exp(total / count)
    assert (table["predicted_tokens"] == count).all()
    assert np.abs(table["perplexity"] - base).max() < 1e-5 * base
    assert table.groupby("method").size().to_dict() == dict.fromkeys(
        ("zero", "mean"), layers * heads
    )
    for row in table.itertuples():
        chosen = row.layer - 1, row.head - 1
        text = prompts["tokens"], prompts["bos"]
        vector = model.mean_z(*text, *chosen) if row.method == "mean" else 0
        nll, _ = model.nll(*text, chosen, vector)
        assert abs(row.ablated_perplexity - np.exp(nll / count)) < 1e-5 * base
        assert row.delta_loss == pytest.approx((nll - total) / count, abs=1e-5)


@pytest.mark.parametrize(("architecture", "decay"), CONDITIONS)
def test_other_layers_and_the_own_refit_agree_with_naive_loops(smoke, architecture, decay):
    """4.2 and 4.3 on trained cells, from the caches to the tables of the study."""
    layers, heads = SHAPES[architecture]
    numbers = range(1, layers + 1)
    triangles = []
    for refit in REFITS:
        home = cell(smoke, architecture, decay, refit)
        cache = open_cache(home / f"caches/step{STEP}/passages.zarr.zip")
        full = [
            [
                [pattern_of(cache, n, h, p).values for p in cache["prompt"].values]
                for h in range(1, heads + 1)
            ]
            for n in numbers
        ]
        triangles.append(
            [
                [[square[np.tril_indices(len(square))] for square in head] for head in layer]
                for layer in full
            ]
        )
    tables = smoke / "results/smoke/tables"
    chosen = f"architecture == '{architecture}' and weight_decay == {decay}"
    across = pd.read_csv(tables / "cross_layer.csv").query(chosen)
    common = pd.read_csv(tables / "commonness.csv").query(chosen)
    assert np.allclose(across.groupby(["anchor", "layer"])["proportion"].sum(), 1)
    for r, refit in enumerate(REFITS):
        stability, proportions = oracles_patterns.matches_in_any_layer(triangles, r)
        for layer in range(layers):
            rows = across.query(f"anchor == '{refit}' and layer == {layer + 1}")
            assert np.allclose(rows["proportion"], proportions[layer], atol=1e-9)
            assert np.allclose(rows["stability"], stability[layer].mean(), atol=1e-6)
            row = common.query(f"refit == '{refit}' and layer == {layer + 1}").iloc[0]
            with_itself, of_others = oracles_patterns.commonness(triangles[r][layer])
            assert row["commonness"] == pytest.approx(np.mean(with_itself), abs=1e-6)
            assert row["commonness_of_others"] == pytest.approx(np.mean(of_others), abs=1e-6)


def test_prompts_are_held_out_passages_shared_by_all_cells(smoke):
    passages = smoke / "results/smoke/corpus/prompts/passages.json"
    prompts = json.loads(passages.read_text())
    assert len(prompts["tokens"]) == 6
    assert {len(tokens) for tokens in prompts["tokens"]} == {21}
    lines = (smoke / "results/smoke/corpus/documents.jsonl").read_text().split("\n")[:-1]
    held_out = [d["text"] for d in map(json.loads, lines) if d["split"] == "held_out"]
    for text in prompts["texts"]:
        assert any(text.strip("�") in document for document in held_out)
    stored = hashlib.sha256(passages.read_bytes()).hexdigest()
    caches = list(smoke.glob("results/smoke/cells/**/*.zarr.zip"))
    assert caches
    assert {open_cache(path).attrs["prompts_sha256"] for path in caches} == {stored}


def test_training_tables_and_provenance(smoke):
    hashes = set()
    for architecture, decay in CONDITIONS:
        for number, refit in enumerate(REFITS, start=1):
            home = cell(smoke, architecture, decay, refit)
            with (home / "training.csv").open() as handle:
                rows = list(csv.DictReader(handle))
            assert float(rows[-1]["held_out_loss"]) < float(rows[0]["held_out_loss"]) - 0.3
            record = json.loads((home / "provenance.json").read_text())
            assert record["init_seed"] == record["data_seed"] == number
            assert record["optimizer"] == ("Adam" if decay == "0" else "AdamW")
            hashes.add(record["weights_sha256"][f"step{STEP}"])
            text = (home / "provenance.json").read_text()
            assert not any(word in text for word in ("time", "date", "host", str(smoke)))
            assert {p.name for p in (home / "checkpoints").iterdir()} == {
                "step0.safetensors",
                f"step{STEP}.safetensors",
            }
            assert len([p for p in home.rglob("*") if p.is_file()]) <= 12
    assert len(hashes) == 8


def test_weights_of_equal_init_seeds_start_equal_and_decay_does_not_matter(smoke):
    starts = {
        (a, r): {
            json.loads((cell(smoke, a, w, r) / "provenance.json").read_text())["weights_sha256"][
                "step0"
            ]
            for w in ("0", "0.1")
        }
        for a in SHAPES
        for r in REFITS
    }
    assert all(len(values) == 1 for values in starts.values())
    assert len(set.union(*starts.values())) == 4


def test_documented_one_line_opens_a_cache(smoke):
    path = cell(smoke, "two", "0.1", "seed1") / f"caches/step{STEP}/passages.zarr.zip"
    line = (
        "import sys, xarray as xr, zarr; "
        "print(xr.open_zarr(zarr.storage.ZipStore(sys.argv[1], mode='r'), consolidated=False))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", line, str(path)], capture_output=True, text=True, check=True
    ).stdout
    assert "(layer, head, entry) float32" in shown


def test_progress_and_logs(smoke):
    log = (smoke / "results/smoke/logs/train/two/wd0/seed1.log").read_text()
    assert "two/wd0/seed1: 100 % [####################] 30/30" in log
    assert "tokens/s" in log
    assert "two/wd0/seed1: 100 %" in (smoke / "run.log").read_text(), "progress is on the terminal"
    left = [p for p in smoke.glob("results/**/*") if ".part" in p.name or p.name == ".resume"]
    assert left == []
