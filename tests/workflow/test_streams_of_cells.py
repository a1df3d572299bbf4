"""Residual streams, norms and the map of heads of the smoke study against naive float64 loops."""

import json

import numpy as np
import oracles
import oracles_streams
import pandas as pd
import pytest
from driver import SMOKE, jobs, snakemake
from plan import edited
from safetensors.numpy import load_file
from test_end_to_end import CONDITIONS, REFITS, SHAPES, STEP, cell

from headstability.storage.stores import open_cache


def weights(smoke, architecture, decay, refit):
    return load_file(
        cell(smoke, architecture, decay, refit) / f"checkpoints/step{STEP}.safetensors"
    )


def cached(smoke, architecture, decay, refit):
    home = cell(smoke, architecture, decay, refit)
    return open_cache(home / f"caches/step{STEP}/passages.zarr.zip")


def measured(smoke, architecture, decay, name):
    folder = smoke / f"results/smoke/conditions/{architecture}/wd{decay}/step{STEP}"
    return pd.read_csv(folder / name)


@pytest.mark.parametrize(("architecture", "decay"), CONDITIONS)
def test_cka_agrees_with_naive_loops_over_the_caches(smoke, architecture, decay):
    caches = [cached(smoke, architecture, decay, refit) for refit in REFITS]
    pairs = measured(smoke, architecture, decay, "residual/passages.csv")
    assert len(pairs) == SHAPES[architecture][0] * 5, "one pair, five estimates"
    table = pd.read_csv(smoke / "results/smoke/tables/residual.csv", dtype={"weight_decay": str})
    here = table[(table["architecture"] == architecture) & (table["weight_decay"] == decay)]
    for row in pairs.itertuples():
        streams = [cache["resid_mid"].sel(layer=row.layer).values for cache in caches]
        if row.estimator == "shuffled":
            expected = oracles_streams.shuffled(*streams, caches[0]["prompt_length"].values)
        else:
            expected = oracles_streams.cka(*streams, row.kernel, row.estimator)
        assert row.cka == pytest.approx(expected, abs=1e-6)
        assert row.positions == 126
        chosen = (here["layer"] == row.layer) & (here["kernel"] == row.kernel)
        same = here[chosen & (here["estimator"] == row.estimator)]
        assert sorted(same["refit"]) == ["all", *REFITS]
        assert np.allclose(same["cka"], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("architecture", "decay"), CONDITIONS)
def test_norms_agree_with_a_float64_model(smoke, architecture, decay):
    layers, heads = SHAPES[architecture]
    prompts = json.loads((smoke / "results/smoke/corpus/prompts/passages.json").read_text())
    found = measured(smoke, architecture, decay, "norms/passages/streams.csv")
    found = found.set_index(["refit", "layer"])
    sizes = measured(smoke, architecture, decay, "norms/passages/weights.csv")
    sizes = sizes.set_index(["refit", "layer", "matrix"])["norm"]
    assert len(sizes) == len(REFITS) * layers * (6 if architecture == "one" else 4)
    for refit in REFITS:
        tensors = weights(smoke, architecture, decay, refit)
        model = oracles.Model(tensors, layers, heads)
        norms = {"attention_out": [], "resid_mid": []}
        for tokens in prompts["tokens"]:
            pre = model.w["embed.weight"][tokens] + model.w["position.weight"][: len(tokens)]
            by_layer = {name: [] for name in norms}
            for layer, mid in enumerate(model.run(tokens)[2]):
                for name, vectors in (("attention_out", mid - pre), ("resid_mid", mid)):
                    centred = vectors - vectors.mean(1, keepdims=True)
                    by_layer[name].append(np.sqrt((centred**2).sum(1)))
                pre = model.after_attention(layer, mid)
            for name, values in by_layer.items():
                norms[name].append(values)
        for name, values in norms.items():  # [prompt, layer, position]
            mean = np.mean(values, axis=(0, 2))
            without = np.mean(np.array(values)[:, :, 1:], axis=(0, 2))
            for layer in range(layers):
                row = found.loc[(refit, layer + 1)]
                assert row[f"{name}_norm"] == pytest.approx(mean[layer], rel=1e-5)
                assert row[f"{name}_norm_without_bos"] == pytest.approx(without[layer], rel=1e-5)
        for layer in range(layers):
            out = tensors[f"blocks.{layer}.attention.out.weight"].astype(np.float64)
            expected = np.sqrt(((out - out.mean(0)) ** 2).sum())
            assert sizes.loc[(refit, layer + 1, "W_O")] == pytest.approx(expected, rel=1e-9)


def test_no_correlation_over_two_layers_is_made_up(smoke):
    table = pd.read_csv(smoke / "results/smoke/tables/weight_norms.csv")
    assert table["pearson"].isna().all()
    assert set(table["layers"]) == {1, 2}
    assert set(table[table["architecture"] == "two"]["matrix"]) == {"W_Q", "W_K", "W_V", "W_O"}


@pytest.mark.parametrize("decay", ["0", "0.1"])
def test_every_head_is_on_the_map(smoke, decay):
    table = pd.read_csv(smoke / f"results/smoke/tables/meta_sne/wd{decay}.csv")
    heads = sum(layers * heads for layers, heads in SHAPES.values()) * len(REFITS)
    assert len(table) == heads == 48
    assert not table[["architecture", "refit", "layer", "head"]].duplicated().any()
    assert table["perplexity"].unique().tolist() == [pytest.approx(47 / 3)]
    assert np.isfinite(table[["x", "y"]]).all(axis=None)


def test_means_of_z_agree_with_z(smoke):
    cache = cached(smoke, "two", "0", "seed1")
    for prompt in cache["prompt"].values:
        here = cache["z"].isel(position=(cache["position_prompt"] == prompt).values)
        mean = here.values.astype(np.float64).mean(axis=2)
        assert np.allclose(cache["z_mean"].sel(prompt=prompt), mean, rtol=0, atol=1e-6)


def test_what_is_shown_and_what_is_kept(smoke):
    """A kernel is a matter of the figure; a stream is one of the caches."""
    config = smoke / "studies/smoke.yaml"
    with edited(config, "refits: 2", "refits: 2\nresidual: {kernel: linear, estimator: debiased}"):
        assert jobs(smoke, *SMOKE) == ["Figure: residual streams"]
    with edited(config, "refits: 2", "refits: 2\nmeta_sne: {perplexity: 5}"):
        planned = jobs(smoke, *SMOKE)
    both = [
        f"{what}, wd {w}"
        for what in ("Figure: map of all heads", "Table of map of all heads")
        for w in ("0", "0.1")
    ]
    assert planned == sorted(both)
    with edited(config, "refits: 2", "refits: 2\nresidual: {streams: [resid_mid, resid_pre]}"):
        planned = jobs(smoke, *SMOKE)
    caching = [job for job in planned if job.startswith("Caching")]
    assert len([job for job in caching if f"step {STEP}" in job]) == 8
    assert len(caching) == 8 + 4  # and untrained weights, of one weight decay
    assert not [job for job in planned if job.startswith("Training")]


def test_a_perplexity_that_is_too_large_is_refused(smoke):
    config = smoke / "studies/smoke.yaml"
    with edited(config, "refits: 2", "refits: 2\nmeta_sne: {perplexity: 30}"):
        output = snakemake(smoke, "meta_sne", "--cores", "1", *SMOKE, ok=False)
    assert "meta_sne.perplexity: 30 is too large for the 48 heads of a weight decay" in output
    assert "15.67" in output
    assert "Traceback" not in output
