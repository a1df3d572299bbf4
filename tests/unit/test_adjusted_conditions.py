"""Adjusted measures from caches: what bounds memory changes nothing, and what cannot be had."""

import numpy as np
import pandas as pd
import torch
from test_conditions import PROMPTS, REFITS, SHAPE, paths, provenance
from test_model import random_model

from headstability import adjusted_conditions
from headstability.activations import activations
from headstability.adjusted_conditions import OPTIONAL, adjusted_tables
from headstability.caches import write_cache
from headstability.conditions import condition_similarity


def made(folder, prompts, measures=OPTIONAL):
    folder.mkdir(exist_ok=True)
    for number, refit in enumerate(REFITS):
        model = random_model(SHAPE, seed=number, dtype=torch.float32)
        kept = activations(model, prompts, torch.device("cpu"))
        write_cache(folder / f"{refit}.zarr.zip", kept, provenance(refit))
    found, _ = condition_similarity(REFITS, paths(folder))
    groups = found["prompts_in_group"].values
    return adjusted_tables(REFITS, paths(folder), found["within"], groups, measures)


def test_what_is_held_at_once_changes_nothing(tmp_path, monkeypatch):
    whole = made(tmp_path / "a", PROMPTS)
    monkeypatch.setattr(adjusted_conditions, "SLAB_ENTRIES", 1)
    monkeypatch.setattr(adjusted_conditions, "LAYER_ENTRIES", 1)
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
