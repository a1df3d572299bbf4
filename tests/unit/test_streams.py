"""From caches to tables of residual streams and norms."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import oracles
import oracles_streams
import pandas as pd
import pytest
import torch
from test_model import SHAPES, random_model

from headstability.analysis.activations import activations
from headstability.analysis.streams import residual_pairs, stream_norms, weight_norms
from headstability.analysis.weight_norms import (
    matrix_norms,
    weight_matrices,
    weight_norm,
)
from headstability.errors import UserError
from headstability.storage.stores import open_cache, verify_cache, write_cache
from headstability.tables import streams as tables

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
PROMPTS = [[3, 1, 4, 1, 5], [3, 9, 2], [3, 2, 6, 5, 3, 5, 8, 9], [3, 7, 9]]
REFITS = ["seed1", "seed2", "seed3"]
CONDITION = {"architecture": "deep", "weight_decay": "0"}
STREAMS = ["resid_mid", "resid_pre"]


@pytest.fixture(scope="module", params=SHAPES[:2], ids=["mlp", "attention-only"])
def refits(request, tmp_path_factory):
    """Models of three refits and their caches."""
    folder = tmp_path_factory.mktemp("refits")
    models, caches = [], []
    for number, refit in enumerate(REFITS):
        model = random_model(request.param, seed=number, dtype=torch.float32)
        models.append(model)
        caches.append(folder / f"{refit}.zarr.zip")
        provenance = {"cell": f"deep/wd0/{refit}", "prompts_sha256": "0"}
        data = activations(model, PROMPTS, torch.device("cpu"), 2, STREAMS)
        write_cache(
            caches[-1], data.assign(weight_norm=weight_norm(weight_matrices(model))), provenance
        )
    return models, caches


def by_oracle(model):
    """resid_mid, resid_pre and attention's output of every layer, prompts end to end."""
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    oracle = oracles.Model(tensors, model.shape.layers, model.shape.heads)
    found = {"resid_mid": [], "resid_pre": [], "attention_out": []}
    for prompt in PROMPTS:
        mids = oracle.run(prompt)[2]
        pres = [oracle.w["embed.weight"][prompt] + oracle.w["position.weight"][: len(prompt)]]
        pres += [oracle.after_attention(layer, mid) for layer, mid in enumerate(mids[:-1])]
        found["resid_mid"].append(mids)
        found["resid_pre"].append(pres)
        found["attention_out"].append([m - p for m, p in zip(mids, pres, strict=True)])
    return {name: np.concatenate(parts, axis=1) for name, parts in found.items()}


def test_cka_of_every_pair_agrees_with_a_float64_model(refits):
    models, caches = refits
    table = residual_pairs(REFITS, caches, STREAMS)
    expected = [by_oracle(model) for model in models]
    assert len(table) == 3 * models[0].shape.layers * 2 * 5
    assert (table["positions"] == sum(map(len, PROMPTS))).all()
    assert not (table["refit_a"] == table["refit_b"]).any()
    for row in table.itertuples():
        x, y = (expected[REFITS.index(r)][row.stream][row.layer - 1] for r in row[1:3])
        wanted = oracles_streams.shuffled(x, y, [len(prompt) for prompt in PROMPTS])
        if row.estimator != "shuffled":
            wanted = oracles_streams.cka(x, y, row.kernel, row.estimator)
        assert row.cka == pytest.approx(wanted, abs=1e-5)


def test_norms_agree_with_a_float64_model(refits):
    models, caches = refits
    table = stream_norms(REFITS, caches).set_index(["refit", "layer"])
    bos = np.append(0, np.cumsum([len(prompt) for prompt in PROMPTS])[:-1])
    for refit, model in zip(REFITS, models, strict=True):
        expected = by_oracle(model)
        for layer in range(model.shape.layers):
            for name in ("attention_out", "resid_mid"):
                norms = np.array(
                    [np.sqrt(((v - v.mean()) ** 2).sum()) for v in expected[name][layer]]
                )
                row = table.loc[(refit, layer + 1)]
                assert row[f"{name}_norm"] == pytest.approx(norms.mean(), rel=1e-5)
                others = np.delete(norms, bos).mean()
                assert row[f"{name}_norm_without_bos"] == pytest.approx(others, rel=1e-5)


def test_weight_norms_agree_with_naive_loops(refits):
    models, caches = refits
    rows = weight_norms(REFITS, caches)
    assert len(rows) == 3 * models[0].shape.layers * (6 if models[0].shape.mlp else 4)
    table = rows.set_index(["refit", "layer", "matrix"])["norm"]
    for refit, model in zip(REFITS, models, strict=True):
        w = {name: value.double().numpy() for name, value in model.state_dict().items()}
        for layer in range(model.shape.layers):
            here = {name: w[f"blocks.{layer}.attention.{name}.weight"] for name in ("qkv", "out")}
            width = model.shape.d_model
            expected = {
                "W_Q": here["qkv"][:width],
                "W_K": here["qkv"][width : 2 * width],
                "W_V": here["qkv"][2 * width :],
                # nn.Linear holds [out, in]: the stream is the first axis of what writes to it.
                "W_O": here["out"] - here["out"].mean(0),
            }
            if model.shape.mlp:
                out = w[f"blocks.{layer}.mlp_out.weight"]
                expected["W_in"] = w[f"blocks.{layer}.mlp_in.weight"]
                expected["W_out"] = out - out.mean(0)
            for matrix, values in expected.items():
                norm = np.sqrt((values**2).sum())
                assert table.loc[(refit, layer + 1, matrix)] == pytest.approx(norm, rel=1e-12)


def test_what_every_output_shares_is_no_part_of_a_writing_norm():
    model = random_model(SHAPES[1])
    norms = matrix_norms(weight_matrices(model))
    for block in model.blocks:
        block.attention.out.weight += 7.0
    after = matrix_norms(weight_matrices(model))
    assert after["W_O"] == pytest.approx(norms["W_O"])
    assert list(norms) == ["W_Q", "W_K", "W_V", "W_O"]


def test_a_cache_says_which_matrices_its_norms_are_of(refits):
    models, caches = refits
    cache = open_cache(caches[0])
    verify_cache(caches[0], cache, ["weight_norm"])
    names = ["W_Q", "W_K", "W_V", "W_O"] + ["W_in", "W_out"] * models[0].shape.mlp
    assert cache["weight_norm"].attrs["matrix"] == names
    assert cache["weight_norm"].sizes == {"layer": models[0].shape.layers, "matrix": len(names)}
    assert cache["weight_norm"].dtype == np.float64


@pytest.mark.parametrize("norms", [weight_norms, stream_norms])
def test_a_cache_of_another_refit_is_refused(refits, norms):
    with pytest.raises(UserError, match=r"copied from another cell, deep/wd0/seed1"):
        norms(["seed2"], refits[1][:1])


# --- tables -------------------------------------------------------------------------------


def labelled(rows, columns):
    table = pd.DataFrame(rows, columns=columns)
    for place, (name, value) in enumerate(CONDITION.items()):
        table.insert(place, name, value)
    return table


@pytest.fixture
def layers():
    rng = np.random.default_rng(0)
    rows = [(a, n, rng.random(), 3) for a in ["all", *REFITS] for n in (1, 2, 3)]
    return labelled(rows, ["anchor", "layer", "stability", "refits"])


def test_residual_table(layers):
    rng = np.random.default_rng(1)
    rows = [
        (a, b, layer, "resid_mid", 20, kernel, "biased", rng.random())
        for a, b in (("seed1", "seed2"), ("seed1", "seed3"), ("seed2", "seed3"))
        for layer in (1, 2, 3)
        for kernel in ("rbf", "linear")
    ]
    names = ["refit_a", "refit_b", "layer", "stream", "positions", "kernel", "estimator", "cka"]
    pairs = labelled(rows, names)
    table = tables.residual_table(pairs, layers)
    assert len(table) == 4 * 3 * 2
    assert table["refit"].tolist() == sorted(table["refit"], key=lambda name: name != "all")
    chosen = (pairs["layer"] == 2) & (pairs["kernel"] == "rbf")
    with_two = chosen & ((pairs["refit_a"] == "seed2") | (pairs["refit_b"] == "seed2"))
    part = table[(table["layer"] == 2) & (table["kernel"] == "rbf")].set_index("refit")
    assert part.loc["seed2", "cka"] == pytest.approx(pairs[with_two]["cka"].mean())
    assert part.loc["all", "cka"] == pytest.approx(pairs[chosen]["cka"].mean())
    own = layers[(layers["layer"] == 2)].set_index("anchor")["stability"]
    assert part["stability"].to_dict() == own.to_dict()
    assert (table["positions"] == 20).all()
    assert (table["refits"] == 3).all()


def test_attention_norms_table():
    rows = [(r, n, i + n, 10.0) for i, r in enumerate(REFITS) for n in (1, 2)]
    norms = labelled(rows, ["refit", "layer", "attention_out_norm", "resid_mid_norm"])
    table = tables.attention_norms_table(norms)
    overall = table[table["refit"] == "all"].set_index("layer")
    assert overall["attention_out_norm"].tolist() == [2, 3]
    assert overall["resid_mid_norm"].tolist() == [10, 10]
    assert len(table) == 8
    assert (table["refits"] == 3).all()


def test_weight_norms_table(layers):
    rng = np.random.default_rng(2)
    rows = [(r, n, m, rng.random()) for r in REFITS for n in (1, 2, 3) for m in ("W_Q", "W_O")]
    norms = labelled(rows, ["refit", "layer", "matrix", "norm"])
    table = tables.weight_norms_table(norms, layers).set_index(["refit", "matrix"])
    for refit in REFITS:
        s = layers[layers["anchor"] == refit].sort_values("layer")["stability"]
        for matrix in ("W_Q", "W_O"):
            chosen = (norms["refit"] == refit) & (norms["matrix"] == matrix)
            expected = oracles.pearson(s, norms[chosen].sort_values("layer")["norm"])
            assert table.loc[(refit, matrix), "pearson"] == pytest.approx(expected, abs=1e-12)
    mean = table.drop("all")["pearson"].groupby("matrix").mean()
    assert table.loc["all"]["pearson"].to_dict() == pytest.approx(mean.to_dict())
    two = tables.weight_norms_table(norms[norms["layer"] < 3], layers)
    assert two["pearson"].isna().all()
    assert (two["layers"] == 2).all()


def test_norms_are_the_same_bits_with_any_number_of_threads():
    program = (
        "import numpy as np\n"
        "from headstability.analysis.weight_norms import matrix_norms\n"
        "draw = np.random.default_rng(0)\n"
        "layers = [{'W_Q': draw.normal(size=(300, 400))} for _ in range(8)]\n"
        "print(matrix_norms(layers)['W_Q'].tobytes().hex())\n"
    )
    found = set()
    for threads in "12":
        limits = {f"{library}_NUM_THREADS": threads for library in ("OMP", "MKL", "OPENBLAS")}
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=SCRIPTS,
            env={**os.environ, **limits},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout)
    assert len(found) == 1
