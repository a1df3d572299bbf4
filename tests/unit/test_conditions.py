import numpy as np
import oracles
import oracles_patterns
import pandas as pd
import pytest
import torch
from test_model import SHAPES, random_model

from headstability.analysis import similarities as conditions
from headstability.analysis.activations import activations
from headstability.analysis.identity import identity_table
from headstability.analysis.refit_caches import open_refits
from headstability.analysis.similarities import condition_similarity, open_similarity, pattern_slabs
from headstability.errors import DamagedFile, UserError
from headstability.monitor.verify import _check
from headstability.storage.files import write_json
from headstability.storage.stores import pattern_of, write_cache
from headstability.tables.measures import condition_tables

REFITS = ["seed1", "seed2", "seed3"]
PROMPTS = [[3, 1, 4, 1, 5], [3, 9], [3, 2, 6, 5, 3, 5, 8, 9, 7, 9], [3, 7, 9]]
SHAPE = SHAPES[0]


def provenance(refit, prompts="p"):
    return {
        "cell": f"a/wd0/{refit}",
        "step": 7,
        "weights_sha256": f"weights of {refit}",
        "prompts": "passages",
        "prompts_sha256": prompts,
    }


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


def tables_of(folder, path):
    """All tables of the condition, by way of its similarities on disk."""
    write_cache(path, *condition_similarity(REFITS, paths(folder)))
    return condition_tables(open_similarity(path, "a/wd0", REFITS), REFITS)


@pytest.fixture(scope="module")
def tables(caches, tmp_path_factory):
    return tables_of(caches[0], tmp_path_factory.mktemp("condition") / "s.zarr.zip")


@pytest.fixture(scope="module")
def triangles(caches):
    """[refit][layer][head][prompt], from the caches' own reader."""
    rows = range(1, len(PROMPTS) + 1)
    return [
        [
            [
                [
                    (full := pattern_of(caches[1][refit], layer, head, p)).values[
                        np.tril_indices(len(full))
                    ]
                    for p in rows
                ]
                for head in range(1, SHAPE.heads + 1)
            ]
            for layer in range(1, SHAPE.layers + 1)
        ]
        for refit in REFITS
    ]


def test_stability_agrees_with_naive_loops_over_cached_patterns(tables, triangles):
    for layer in range(1, SHAPE.layers + 1):
        s, k = oracles.stability([refit[layer - 1] for refit in triangles])
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


def test_matches_in_any_layer_agree_with_naive_loops(tables, triangles):
    table = tables["cross_layer"].set_index(["anchor", "layer", "match_layer"]).sort_index()
    assert len(table) == 3 * SHAPE.layers**2
    for r, anchor in enumerate(REFITS):
        stability, proportions = oracles_patterns.matches_in_any_layer(triangles, r)
        for layer in range(SHAPE.layers):
            rows = table.loc[(anchor, layer + 1)]
            assert rows.index.tolist() == list(range(1, SHAPE.layers + 1))
            assert np.allclose(rows["proportion"], proportions[layer], atol=1e-12)
            assert np.allclose(rows["stability"], stability[layer].mean(), atol=1e-6)


def test_commonness_agrees_with_naive_loops(tables, triangles):
    table = tables["commonness"].set_index(["refit", "layer", "head"]).sort_index()
    assert len(table) == 3 * SHAPE.layers * SHAPE.heads
    for refit, layers in zip(REFITS, triangles, strict=True):
        for layer, heads in enumerate(layers, start=1):
            rows = table.loc[(refit, layer)]
            with_itself, of_others = oracles_patterns.commonness(heads)
            assert np.allclose(rows["commonness"], with_itself, atol=1e-6)
            assert np.allclose(rows["commonness_of_others"], of_others, atol=1e-6)


@pytest.mark.parametrize("slab", [1, 900])
def test_smaller_slabs_change_nothing(caches, tables, tmp_path, monkeypatch, slab):
    monkeypatch.setattr(conditions, "SLAB_ENTRIES", slab)
    for name, table in tables_of(caches[0], tmp_path / "s.zarr.zip").items():
        pd.testing.assert_frame_equal(table, tables[name], atol=1e-6)


def test_tables_hold_every_head_pair_and_match_once(tables):
    assert len(tables["heads"]) == 3 * SHAPE.layers * SHAPE.heads
    assert len(tables["pairs"]) == 6 * SHAPE.layers
    matches = tables["matches"]
    assert len(matches) == 6 * SHAPE.layers * SHAPE.heads
    assert (matches["anchor"] != matches["refit"]).all()
    assert matches["match"].between(1, SHAPE.heads).all()
    means = matches.groupby(["anchor", "layer", "head"])["similarity"].mean()
    expected = tables["heads"].set_index(["anchor", "layer", "head"])["stability"]
    assert np.allclose(means, expected.loc[means.index])


@pytest.mark.parametrize("slab", [1, 900, 2**25])
def test_slabs_hold_every_prompt_once_within_their_size(caches, monkeypatch, slab):
    monkeypatch.setattr(conditions, "SLAB_ENTRIES", slab)
    folder, data = caches
    slabs = list(pattern_slabs(open_refits(REFITS, paths(folder), ["pattern"])))
    joined = np.concatenate([rows for rows, _ in slabs], axis=2)
    expected = np.concatenate([data[refit]["pattern"].values for refit in REFITS], axis=1)
    assert np.array_equal(joined, expected)
    assert sum(len(entries) for _, entries in slabs) == len(PROMPTS)
    for rows, entries in slabs:
        assert rows.size <= slab or len(entries) == 1


# --- similarities on disk -----------------------------------------------------------------


@pytest.fixture
def stored(caches, tmp_path):
    path = tmp_path / "similarity.zarr.zip"
    write_cache(path, *condition_similarity(REFITS, paths(caches[0])))
    return path


def test_similarities_say_what_they_are_of(stored):
    dataset = open_similarity(stored, "a/wd0", REFITS)
    refits, heads, layers = len(REFITS), SHAPE.heads, SHAPE.layers
    pair = (refits, heads, refits, heads)
    assert dataset["within"].shape == (layers, len(PROMPTS), *pair)
    assert dataset["across"].shape == (layers, refits, heads, layers, refits, heads)
    assert dataset["within"].dtype == dataset["across"].dtype == np.float32
    assert dataset["prompts_in_group"].values.tolist() == [1] * len(PROMPTS)
    assert len(dataset.attrs.pop("coordinates_sha256")) == 64
    assert dataset.attrs == {
        "condition": "a/wd0",
        "refits": REFITS,
        "weights_sha256": [f"weights of {refit}" for refit in REFITS],
        "step": 7,
        "prompts": "passages",
        "prompts_sha256": "p",
    }


def test_similarities_are_written_the_same_twice(stored, caches, tmp_path):
    again = tmp_path / "again.zarr.zip"
    write_cache(again, *condition_similarity(REFITS, paths(caches[0])))
    assert stored.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("variable", ["within", "across"])
@pytest.mark.parametrize("how", ["flipped", "truncated"])
def test_damaged_similarities_are_found(stored, variable, how):
    data = bytearray(stored.read_bytes())
    place = data.index(f"{variable}/c/1".encode()) + 60
    if how == "flipped":
        data[place] ^= 4
    else:
        del data[place:]
    stored.write_bytes(data)
    with pytest.raises(DamagedFile):
        open_similarity(stored, "a/wd0", REFITS)
    with pytest.raises(DamagedFile):
        _check(stored, {})


def test_similarities_of_other_refits_are_refused(stored):
    with pytest.raises(DamagedFile, match="it holds a/wd0, refits seed1, seed2, seed3"):
        open_similarity(stored, "a/wd0.1", REFITS)
    with pytest.raises(DamagedFile, match="it holds a/wd0"):
        open_similarity(stored, "a/wd0", REFITS[:2])


def test_caches_that_do_not_belong_together(caches, tmp_path):
    folder, data = caches
    other = tmp_path / "other.zarr.zip"
    pair = REFITS[:2], [paths(folder)[0], other]
    write_cache(other, data["seed2"], provenance("seed2", prompts="q"))
    with pytest.raises(UserError, match=r"other\.zarr\.zip.*different prompts"):
        open_refits(*pair, ["pattern"])
    write_cache(other, data["seed2"].isel(head=slice(0, 2)), provenance("seed2"))
    with pytest.raises(UserError, match=r"shape \(2, 2, "):
        open_refits(*pair, ["pattern"])
    write_cache(other, data["seed1"], provenance("seed1"))
    with pytest.raises(UserError, match=r"copied from another cell, a/wd0/seed1"):
        open_refits(*pair, ["pattern"])


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
