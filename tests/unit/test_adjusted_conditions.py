"""Every measure from caches: agreement with loops, what bounds memory, and what is undefined."""

import numpy as np
import oracles_adjusted
import oracles_recurrence as oracles
import pandas as pd
import pytest
import torch
from test_conditions import PROMPTS, REFITS, SHAPE, paths, provenance
from test_model import random_model

from headstability.analysis import measures as from_caches
from headstability.analysis.activations import activations
from headstability.analysis.adjusted import adjusted_tables
from headstability.analysis.measures import condition_measures
from headstability.analysis.similarities import condition_similarity
from headstability.analysis.twins import twin_similarities, twin_table
from headstability.measures import registry as measures
from headstability.measures.head_cka import head_cka
from headstability.measures.registry import MEASURES
from headstability.storage.stores import write_cache

ALWAYS = {"raw", "shuffled", "excess", "template", "text", "written", "written_of_layer"}
# The document of each prompt: two groups.
DOCUMENTS = [5, 5, 8, 8]


def write_caches(folder, prompts, documents=None, first=0):
    folder.mkdir(exist_ok=True)
    data = []
    for number, refit in enumerate(REFITS, start=first):
        model = random_model(SHAPE, seed=number, dtype=torch.float32)
        data.append(activations(model, prompts, torch.device("cpu"), documents=documents))
        write_cache(folder / f"{refit}.zarr.zip", data[-1], provenance(refit))
    return data


def tables_of(folder, chosen=tuple(MEASURES)):
    similarity, _ = condition_similarity(REFITS, paths(folder))
    measured, _ = condition_measures(REFITS, paths(folder), chosen)
    return adjusted_tables(REFITS, similarity, measured, chosen)


def made(folder, prompts, chosen=tuple(MEASURES), documents=None):
    write_caches(folder, prompts, documents)
    return tables_of(folder, chosen)


def triangles_of(data, layer):
    """triangles[model][head][prompt] of one layer."""
    ends = np.cumsum([len(p) * (len(p) + 1) // 2 for p in PROMPTS])[:-1]
    return [
        [np.split(head.astype(np.float64), ends) for head in one["pattern"].values[layer]]
        for one in data
    ]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("caches")
    data = write_caches(folder, PROMPTS, DOCUMENTS)
    return data, tables_of(folder)


def value_of(shared, measure, statistic, layer, left_out="", unit=""):
    rows = shared[(shared["measure"] == measure) & (shared["statistic"] == statistic)]
    rows = rows[(rows["layer"] == layer) & (rows["left_out"] == left_out)]
    return rows[rows["unit"] == unit]["value"].item()


@pytest.mark.parametrize("name", ["raw", "template", "text"])
def test_what_is_shared_and_specific_agrees_with_loops(measured, name):
    data, tables = measured
    every = range(len(PROMPTS))
    similarity = {
        "raw": oracles_adjusted.similarities,
        "template": oracles.template,
        "text": oracles.text,
    }[name]
    for layer in range(SHAPE.layers):
        triangles = triangles_of(data, layer)
        for group, kept in (("", every), ("1", [2, 3]), ("2", [0, 1])):
            expected, _, _ = oracles.specific(similarity(triangles, kept), range(3))
            for statistic, value in expected.items():
                left = "group" if group else ""
                found = value_of(tables["shared"], name, statistic, layer + 1, left, group)
                assert found == pytest.approx(value, abs=1e-6), (statistic, group)


def test_the_excess_compares_the_same_patterns(measured):
    """Prompts differ in length: both sides are cut alike, over the same shifts."""
    data, tables = measured
    pairs = tables["pairs"].set_index(["measure", "layer", "refit_a", "refit_b"])["stability"]
    for layer in range(SHAPE.layers):
        triangles, null, cut = triangles_of(data, layer), [], []
        for shift in (1, 2, 3):  # 4 prompts have no more
            of_shift = oracles_adjusted.shuffled(triangles, shift)
            null.append(oracles_adjusted.pairwise(oracles_adjusted.best(of_shift)))
            of_shift = oracles_adjusted.cut(triangles, shift, range(4))
            cut.append(oracles_adjusted.pairwise(oracles_adjusted.best(of_shift)))
        for a, b in ((0, 1), (0, 2), (1, 2)):
            key = (layer + 1, REFITS[a], REFITS[b])
            assert pairs["shuffled", *key] == pytest.approx(np.mean(null, axis=0)[a, b], abs=1e-6)
            assert pairs["cut", *key] == pytest.approx(np.mean(cut, axis=0)[a, b], abs=1e-6)
            difference = pairs["cut", *key] - pairs["shuffled", *key]
            assert pairs["excess", *key] == pytest.approx(difference)


def test_mu_of_shuffled_prompts_agrees_with_loops(measured):
    data, tables = measured
    for layer in range(SHAPE.layers):
        triangles = triangles_of(data, layer)
        for group, documents in (("", {5, 8}), ("1", {8}), ("2", {5})):
            means = []
            for shift in (1, 2, 3):
                kept = [
                    p for p in range(4) if {DOCUMENTS[p], DOCUMENTS[(p + shift) % 4]} <= documents
                ]
                s = oracles_adjusted.shuffled(triangles, shift, kept) if kept else np.nan
                pairs = (
                    [s[a, :, b].mean() for a in range(3) for b in range(3) if a != b]
                    if kept
                    else [np.nan]
                )
                means.append(np.mean(pairs))
            left = "group" if group else ""
            found = value_of(tables["shared"], "raw", "mu_shuffled", layer + 1, left, group)
            assert found == pytest.approx(np.mean(means), abs=1e-6, nan_ok=True)


def test_identity_counts_assigned_heads_of_the_same_index(measured):
    data, tables = measured
    rows = tables["identity"].set_index(["measure", "layer", "refit_a", "refit_b"])["same_index"]
    for layer in range(SHAPE.layers):
        s = oracles.text(triangles_of(data, layer), range(len(PROMPTS)))
        pi = oracles.assign(s)
        for a, b in ((0, 1), (0, 2), (1, 2)):
            expected = np.mean(pi[a, b] == np.arange(SHAPE.heads))
            assert rows["text", layer + 1, REFITS[a], REFITS[b]] == expected


def test_twins_agree_with_loops(tmp_path):
    """Every refit beside another model of the same name, as of another weight decay."""
    one = write_caches(tmp_path / "one", PROMPTS, DOCUMENTS)
    other = write_caches(tmp_path / "other", PROMPTS, DOCUMENTS, first=10)
    both = list(zip(paths(tmp_path / "one"), paths(tmp_path / "other"), strict=True))
    similarities, made_from = twin_similarities(REFITS, ["0", "0.1"], both)
    assert (made_from["condition"], made_from["weight_decays"]) == ("a", ["0", "0.1"])
    table = twin_table(similarities.assign_attrs(made_from), ["0", "0.1"])
    keys = ["measure", "layer", "refit", "group", "weight_decay"]
    found = table.set_index(keys)
    for number, refit in enumerate(REFITS):
        for layer in range(SHAPE.layers):
            triangles = triangles_of([one[number], other[number]], layer)
            for group, kept in ((0, range(4)), (1, [2, 3]), (2, [0, 1])):
                s = oracles.text(triangles, kept)
                pi = oracles.assign(s)[0, 1]
                for decay in ("0", "0.1"):
                    row = found.loc[("text", layer + 1, refit, group, decay)]
                    expected = np.mean([s[0, h, 1, pi[h]] for h in range(SHAPE.heads)])
                    assert row["similarity"] == pytest.approx(expected, abs=1e-6)
                    assert row["same_index"] == np.mean(pi == np.arange(SHAPE.heads))
    written = table[table["measure"] == "written"]
    assert set(written["group"]) == {0}, "prompts are not left out of what heads write"


def test_a_model_is_its_own_twin(tmp_path):
    write_caches(tmp_path, PROMPTS)
    same = [[path, path] for path in paths(tmp_path)]
    table = twin_table(
        twin_similarities(REFITS, ["0", "0.1"], same)[0].assign_attrs(refits=REFITS), ["0", "0.1"]
    )
    raw = table[(table["measure"] == "raw")]
    assert raw["similarity"].to_numpy() == pytest.approx(np.ones(len(raw)), abs=1e-6)
    assert (raw["same_index"] == 1).all()


def test_what_is_held_at_once_changes_nothing(tmp_path, monkeypatch):
    whole = made(tmp_path / "a", PROMPTS)
    monkeypatch.setattr(from_caches, "ADJUSTED_SLAB_ENTRIES", 1)
    monkeypatch.setattr(from_caches, "ADJUSTED_LAYER_ENTRIES", 1)
    for name, table in made(tmp_path / "b", PROMPTS).items():
        pd.testing.assert_frame_equal(table, whole[name], rtol=0, atol=1e-6)


def test_only_chosen_measures_are_made(tmp_path):
    tables = made(tmp_path, PROMPTS, ["centred"])
    assert set(tables["pairs"]["measure"]) == {*ALWAYS, "cut", "centred"}
    assert not tables["pairs"]["stability"].isna().any()
    assert len(tables["heads"]) == len(REFITS) * SHAPE.layers * SHAPE.heads


def test_one_prompt_has_no_null_and_no_halves(tmp_path):
    tables = made(tmp_path, PROMPTS[2:3])
    empty = tables["pairs"].groupby("measure")["stability"].apply(lambda v: v.isna().all())
    undefined = {"shuffled", "excess", "split", "text", "z_cka_of_layer_shuffled"}
    assert set(empty[empty].index) == undefined
    assert set(empty.index) > undefined
    assert tables["heads"]["raw"].notna().all()
    assert tables["heads"][["shuffled", "excess", "text"]].isna().all(axis=None)
    assert tables["without_prompts"]["stability"].isna().all()


def test_too_few_positions_have_no_cka(tmp_path):
    pairs = made(tmp_path, PROMPTS[1:2])["pairs"]
    written = ["z_cka", "z_cka_of_layer", "z_cka_of_layer_shuffled", "written"]
    cka = pairs[pairs["measure"].isin(written)]
    assert np.isnan(cka["stability"]).all()
    assert len(cka) == 4 * 3 * SHAPE.layers


def test_a_measure_may_bring_its_own_similarity(tmp_path, monkeypatch):
    def halved(slabs, groups):
        return measures.cosine(slabs, groups) / 2

    monkeypatch.setitem(MEASURES, "halved", measures.Measure(compare=halved))
    monkeypatch.setitem(MEASURES, "again", measures.Measure(outputs=head_cka))
    pairs = made(tmp_path, PROMPTS, ["z_cka", "halved", "again"])["pairs"]
    values = {name: rows["stability"].to_numpy() for name, rows in pairs.groupby("measure")}
    assert np.allclose(values["halved"], values["raw"] / 2, atol=1e-6)
    assert np.array_equal(values["again"], values["z_cka"])
    assert np.array_equal(values["again_of_layer"], values["z_cka_of_layer"])
