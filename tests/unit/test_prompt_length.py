"""Stability on the first tokens of prompts, against running shorter prompts."""

import numpy as np
import pytest
import torch
from test_conditions import provenance
from test_model import SHAPES, random_model

from headstability.analysis import similarities as conditions
from headstability.analysis.activations import activations
from headstability.analysis.prompt_length import choose_prompts, stability_by_length
from headstability.analysis.similarities import condition_similarity
from headstability.errors import UserError
from headstability.storage.stores import write_cache
from headstability.tables.measures import condition_tables
from headstability.tables.stability import prompt_length_table

REFITS = ["seed1", "seed2", "seed3"]
LENGTHS = [9, 1, 6, 12, 6, 3]  # tokens, BOS not counted
SHAPE = SHAPES[0]


def write_caches(folder, prompts):
    paths = []
    for number, refit in enumerate(REFITS):
        model = random_model(SHAPE, seed=number, dtype=torch.float32)
        data = activations(model, prompts, torch.device("cpu"))
        paths.append(folder / f"{refit}.zarr.zip")
        write_cache(paths[-1], data, provenance(refit))
    return paths


@pytest.fixture(scope="module")
def prompts():
    rng = np.random.default_rng(0)
    return [[3, *rng.integers(4, 50, length).tolist()] for length in LENGTHS]


@pytest.fixture(scope="module")
def caches(tmp_path_factory, prompts):
    return write_caches(tmp_path_factory.mktemp("caches"), prompts)


@pytest.mark.parametrize("slab", [1, 400, 2**23])
def test_prefixes_equal_prompts_run_again(caches, prompts, tmp_path, monkeypatch, slab):
    monkeypatch.setattr(conditions, "SLAB_ENTRIES", slab)
    table = stability_by_length(REFITS, caches, 4, [2, 6])
    assert (table["prompts"] == 4).all()
    for tokens in (2, 6):
        cut = [prompt[: tokens + 1] for prompt in prompts if len(prompt) > 6]
        (tmp_path / str(tokens)).mkdir()
        paths = write_caches(tmp_path / str(tokens), cut)
        again = condition_tables(condition_similarity(REFITS, paths)[0], REFITS)["heads"]
        groups = again.groupby(["layer", "anchor"])["stability"]
        found = table[table["tokens"] == tokens].set_index(["layer", "anchor"])
        assert np.allclose(found["stability"], groups.mean()[found.index], atol=1e-6)
        assert np.allclose(found["heads_sd"], groups.std()[found.index], atol=1e-6)
        assert len(found) == SHAPE.layers * len(REFITS)


def test_whole_prompts_are_a_length_too(caches, prompts):
    """Of the one prompt of 12 tokens, all."""
    table = stability_by_length(REFITS, caches, 1, [12])
    longest = [index for index, length in enumerate(LENGTHS) if length == 12]
    assert longest == [3]
    shorter = stability_by_length(REFITS, caches, 1, [11])
    assert not np.allclose(table["stability"], shorter["stability"], atol=1e-6)


@pytest.mark.parametrize(
    ("wanted", "lengths", "expected"),
    [
        (2, None, ([5], [0, 2])),
        (1, None, ([5, 10], [3])),
        (4, None, ([5], [0, 2, 3, 4])),
        (5, None, ([3], [0, 2, 3, 4, 5])),
        (20, None, ([1], [0, 1, 2, 3, 4, 5])),
        (2, [6, 2], ([2, 6], [0, 2])),
        (2, [9], ([9], [0, 3])),
        (20, [1], ([1], [0, 1, 2, 3, 4, 5])),
    ],
)
def test_all_lengths_are_cut_from_the_same_prompts(wanted, lengths, expected):
    found = choose_prompts(np.array(LENGTHS), wanted, lengths)
    assert (found[0], found[1].tolist()) == expected


def test_prompts_that_are_too_short():
    message = r"prompt_lengths\.tokens: 10 tokens are more than 2 prompts have; give at most 9, or"
    with pytest.raises(UserError, match=message):
        choose_prompts(np.array(LENGTHS), 2, [5, 10])


def test_the_table_adds_the_mean_over_anchors(caches):
    lengths = stability_by_length(REFITS, caches, 4, None)
    lengths = lengths.assign(architecture="a", weight_decay="0")
    table = prompt_length_table(lengths)
    overall = table[table["anchor"] == "all"]
    assert len(overall) == SHAPE.layers
    assert overall["heads_sd"].isna().all()
    assert (table["refits"] == 3).all()
    for row in overall.itertuples():
        part = lengths[lengths["layer"] == row.layer]["stability"]
        assert row.stability == pytest.approx(sum(part) / 3)
    assert len(table) == SHAPE.layers * 4
