"""Adjusted measures from caches: what bounds memory changes nothing, and what cannot be had."""

import numpy as np
import pandas as pd
import torch
from test_conditions import PROMPTS, REFITS, SHAPE, paths, provenance
from test_model import random_model

from headstability.analysis import adjusted as adjusted_conditions
from headstability.analysis.activations import activations
from headstability.analysis.adjusted import adjusted_tables
from headstability.analysis.similarities import condition_similarity
from headstability.measures import registry as measures
from headstability.measures.head_cka import head_cka
from headstability.measures.registry import MEASURES
from headstability.storage.stores import write_cache


def made(folder, prompts, chosen=tuple(MEASURES)):
    folder.mkdir(exist_ok=True)
    for number, refit in enumerate(REFITS):
        model = random_model(SHAPE, seed=number, dtype=torch.float32)
        kept = activations(model, prompts, torch.device("cpu"))
        write_cache(folder / f"{refit}.zarr.zip", kept, provenance(refit))
    found, _ = condition_similarity(REFITS, paths(folder))
    groups = found["prompts_in_group"].values
    return adjusted_tables(REFITS, paths(folder), found["within"], groups, chosen)


def test_what_is_held_at_once_changes_nothing(tmp_path, monkeypatch):
    whole = made(tmp_path / "a", PROMPTS)
    monkeypatch.setattr(adjusted_conditions, "ADJUSTED_SLAB_ENTRIES", 1)
    monkeypatch.setattr(adjusted_conditions, "ADJUSTED_LAYER_ENTRIES", 1)
    for name, table in made(tmp_path / "b", PROMPTS).items():
        pd.testing.assert_frame_equal(table, whole[name], rtol=0, atol=1e-6)


def test_only_chosen_measures_are_made(tmp_path):
    tables = made(tmp_path, PROMPTS, ["centred"])
    assert set(tables["pairs"]["measure"]) == {"raw", "shuffled", "excess", "centred"}
    assert not tables["pairs"]["stability"].isna().any()
    assert len(tables["heads"]) == len(REFITS) * SHAPE.layers * SHAPE.heads


def test_one_prompt_has_no_null_and_no_halves(tmp_path):
    tables = made(tmp_path, PROMPTS[2:3])
    empty = tables["pairs"].groupby("measure")["stability"].apply(lambda v: v.isna().all())
    undefined = {"shuffled", "excess", "split"}
    assert set(empty[empty].index) == undefined
    assert set(empty.index) > undefined
    assert tables["heads"]["raw"].notna().all()
    assert tables["heads"][["shuffled", "excess"]].isna().all(axis=None)
    assert tables["without_prompts"]["stability"].isna().all()


def test_too_few_positions_have_no_cka(tmp_path):
    pairs = made(tmp_path, PROMPTS[1:2])["pairs"]
    cka = pairs[pairs["measure"].isin(["z_cka", "z_cka_of_layer"])]
    assert np.isnan(cka["stability"]).all()
    assert len(cka) == 2 * 3 * SHAPE.layers


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
