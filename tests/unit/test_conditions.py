import numpy as np
import oracles
import pandas as pd
import pytest
import torch
from test_model import SHAPES, random_model

from headstability import conditions
from headstability.activations import activations
from headstability.caches import write_cache
from headstability.conditions import pattern_groups, stability_tables
from headstability.errors import UserError
from headstability.files import write_json
from headstability.identity import identity_table
from headstability.triangles import pattern_of

REFITS = ["seed1", "seed2", "seed3"]
PROMPTS = [[3, 1, 4, 1, 5], [3, 9], [3, 2, 6, 5, 3, 5, 8, 9, 7, 9], [3, 7, 9]]
SHAPE = SHAPES[0]


def provenance(refit, prompts="p"):
    return {"cell": f"a/wd0/{refit}", "prompts_sha256": prompts}


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    folder = tmp_path_factory.mktemp("caches")
    data = {}
    for number, refit in enumerate(REFITS):
        model = random_model(SHAPE, seed=number, dtype=torch.float32)
        data[refit] = activations(model, PROMPTS, torch.device("cpu"))
        write_cache(folder / f"{refit}.zarr.zip", data[refit], provenance(refit))
    return folder, data


def paths(folder):
    return [folder / f"{refit}.zarr.zip" for refit in REFITS]


@pytest.mark.parametrize("slab", [1, 200, 2**23])
def test_agrees_with_naive_loops_over_cached_patterns(caches, monkeypatch, slab):
    monkeypatch.setattr(conditions, "SLAB_ENTRIES", slab)
    folder, data = caches
    tables = stability_tables(REFITS, paths(folder))
    for layer in range(1, SHAPE.layers + 1):
        triangles = []
        for refit in REFITS:
            heads = []
            for head in range(1, SHAPE.heads + 1):
                full = [pattern_of(data[refit], layer, head, p + 1) for p in range(len(PROMPTS))]
                heads.append([f.values[np.tril_indices(len(f))] for f in full])
            triangles.append(heads)
        s, k = oracles.stability(triangles)
        heads = tables["heads"].query("layer == @layer").set_index(["anchor", "head"])
        pairs = tables["pairs"].query("layer == @layer").set_index(["refit_a", "refit_b"])
        for r, anchor in enumerate(REFITS):
            for head in range(SHAPE.heads):
                found = heads.loc[(anchor, head + 1), "stability"]
                assert found == pytest.approx(s[r, head], abs=1e-6)
            for other, name in enumerate(REFITS):
                if r != other:
                    assert pairs.loc[(anchor, name), "stability"] == pytest.approx(
                        k[r, other], abs=1e-6
                    )


def test_tables_hold_every_head_pair_and_match_once(caches):
    tables = stability_tables(REFITS, paths(caches[0]))
    assert len(tables["heads"]) == 3 * SHAPE.layers * SHAPE.heads
    assert len(tables["pairs"]) == 6 * SHAPE.layers
    matches = tables["matches"]
    assert len(matches) == 6 * SHAPE.layers * SHAPE.heads
    assert (matches["anchor"] != matches["refit"]).all()
    assert matches["match"].between(1, SHAPE.heads).all()
    means = matches.groupby(["anchor", "layer", "head"])["similarity"].mean()
    expected = tables["heads"].set_index(["anchor", "layer", "head"])["stability"]
    assert np.allclose(means, expected.loc[means.index])


@pytest.mark.parametrize("slab", [1, 150, 2**23])
def test_groups_hold_every_prompt_once_within_the_slab(caches, monkeypatch, slab):
    monkeypatch.setattr(conditions, "SLAB_ENTRIES", slab)
    folder, data = caches
    opened = conditions.open_refits(REFITS, paths(folder))
    groups = list(pattern_groups(opened, 1))
    joined = np.concatenate([rows for rows, _ in groups], axis=1)
    expected = np.concatenate([data[refit]["pattern"].values[1] for refit in REFITS])
    assert np.array_equal(joined, expected)
    assert sum(len(entries) for _, entries in groups) == len(PROMPTS)
    for rows, entries in groups:
        assert rows.size <= slab or len(entries) == 1


def test_caches_that_do_not_belong_together(caches, tmp_path):
    folder, data = caches
    other = tmp_path / "other.zarr.zip"
    pair = REFITS[:2], [paths(folder)[0], other]
    write_cache(other, data["seed2"], provenance("seed2", prompts="q"))
    with pytest.raises(UserError, match=r"other\.zarr\.zip.*different prompts"):
        conditions.open_refits(*pair)
    write_cache(other, data["seed2"].isel(head=slice(0, 2)), provenance("seed2"))
    with pytest.raises(UserError, match=r"shape \(2, 2, "):
        conditions.open_refits(*pair)
    write_cache(other, data["seed1"], provenance("seed1"))
    with pytest.raises(UserError, match=r"copied from another cell, a/wd0/seed1"):
        conditions.open_refits(*pair)


def write_provenance(folder, records):
    out = []
    for number, record in enumerate(records):
        base = {
            "cell": f"deep/wd0/seed{number}",
            "init_seed": number,
            "data_seed": number,
            "step": 10,
            "held_out_loss": 3.5,
            "weights_sha256": {"step0": f"init{number}", "step10": f"final{number}"},
        }
        path = folder / f"{number}.json"
        write_json(path, base | record)
        out.append(path)
    return out


def test_identity_table(tmp_path):
    table = identity_table(["a", "b"], write_provenance(tmp_path, [{}, {}]))
    assert isinstance(table, pd.DataFrame)
    assert table["refit"].tolist() == ["a", "b"]
    assert table["final_sha256"].tolist() == ["final0", "final1"]


COPIED = {"weights_sha256": {"step0": "init0", "step10": "final0"}}
SAME_START = {"weights_sha256": {"step0": "init0", "step10": "final9"}}
SAME_INIT_SEED = {"init_seed": 0}


@pytest.mark.parametrize(
    ("second", "messages"),
    [
        (COPIED, ["the same final weights", "the same initial weights under different init seeds"]),
        (SAME_START, ["the same initial weights under different init seeds"]),
        (SAME_INIT_SEED, ["different initial weights under the same init seed"]),
    ],
)
def test_refits_that_are_not_what_they_claim(tmp_path, second, messages):
    records = write_provenance(tmp_path, [{}, second, {}])
    with pytest.raises(UserError) as error:
        identity_table(["a", "b", "c"], records)
    for message in messages:
        assert f"deep/wd0/seed0 and deep/wd0/seed1 have {message}" in str(error.value)
    assert "seed2" not in str(error.value)


def test_crossed_refits_may_share_their_start(tmp_path):
    shared = {"init_seed": 0, **SAME_START}
    assert len(identity_table(["a", "b"], write_provenance(tmp_path, [{}, shared]))) == 2
