"""Roles of real heads on real and synthetic prompts, and their stability, against loops."""

from dataclasses import replace

import numpy as np
import oracles
import oracles_adjusted
import pandas as pd
import pytest
import torch
from test_conditions import provenance
from test_model import SHAPES, random_model

from headstability.analysis.activations import activations
from headstability.analysis.cell_roles import cell_scores, default_tokens
from headstability.errors import UserError
from headstability.measures.roles import EVEN, ROLES, repeated_prompts
from headstability.models.checkpoints import write_weights
from headstability.storage.files import sha256_file, write_json
from headstability.storage.stores import write_cache
from headstability.tables.roles import role_heads, role_stability

REFITS = ["seed1", "seed2", "seed3"]
CPU = torch.device("cpu")
BOS = 3
CHOSEN = {"tokens": None, "prompts": 9, "seed": 1}
SHAPE = SHAPES[0]


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Models with their caches, checkpoints and prompts; few tokens, so that some recur."""
    folder = tmp_path_factory.mktemp("cells")
    rng = np.random.default_rng(0)
    prompts = [[BOS, *rng.integers(4, 9, length).tolist()] for length in (9, 15, 12)]
    write_json(folder / "prompts.json", {"tokens": prompts, "bos": BOS})
    models, files = [], {}
    for number, refit in enumerate(REFITS):
        models.append(random_model(SHAPE, seed=number, dtype=torch.float32))
        cache, weights = folder / f"{refit}.zarr.zip", folder / f"{refit}.safetensors"
        data = activations(models[-1], prompts, CPU)
        write_cache(cache, data, provenance(refit, sha256_file(folder / "prompts.json")))
        write_weights(weights, models[-1], {"cell": refit})
        files[refit] = (refit, cache, weights, folder / "prompts.json")
    return models, prompts, files


def test_scores_of_real_heads_agree_with_loops_in_float64(cells):
    models, prompts, files = cells
    texts = {"prompts": prompts, "synthetic": repeated_prompts(50, BOS, 9, 11, seed=1)}
    assert {len(prompt) for prompt in texts["synthetic"]} == {23}, "as many as fit in 24"
    for refit, model in zip(REFITS, models, strict=True):
        table = cell_scores(*files[refit], CHOSEN, CPU)
        assert len(table) == 2 * SHAPE.layers * SHAPE.heads
        table = table.set_index(["text", "layer", "head"])
        naive = oracles.Model(model.state_dict(), SHAPE.layers, SHAPE.heads)
        for name, text in texts.items():
            runs = [naive.run(tokens)[0] for tokens in text]
            flat = [np.tril(1 / np.arange(1, len(t) + 1)[:, None] * np.ones(len(t))) for t in text]
            even = oracles_adjusted.role_scores(flat, text)
            for layer, head in np.ndindex(SHAPE.layers, SHAPE.heads):
                patterns = [np.asarray(run[layer][head]) for run in runs]
                expected = oracles_adjusted.role_scores(patterns, text)
                found = table.loc[(name, layer + 1, head + 1)]
                for role in ROLES:
                    assert found[role] == pytest.approx(expected[role], abs=1e-5)
                assert found[EVEN].tolist() == pytest.approx([even[role] for role in ROLES])


def test_sequences_that_do_not_fit_are_explained(cells):
    _, _, files = cells
    with pytest.raises(UserError, match=r"50 different tokens.*vocabulary of 50.*roles\.tokens"):
        cell_scores(*files["seed1"], CHOSEN | {"tokens": 50}, CPU)
    assert default_tokens(128, 1024) == 25
    assert default_tokens(32, 300) == 15
    assert default_tokens(128, 10) == 9
    assert default_tokens(replace(SHAPE, context=2).context, 50) == 0


def test_caches_of_other_prompts_or_refits_are_refused(cells, tmp_path):
    _, prompts, files = cells
    write_json(tmp_path / "other.json", {"tokens": prompts[::-1], "bos": BOS})
    with pytest.raises(UserError, match="made with other prompts than"):
        cell_scores(*files["seed1"][:3], tmp_path / "other.json", CHOSEN, CPU)
    with pytest.raises(UserError, match="copied from another cell, a/wd0/seed1"):
        cell_scores("seed2", *files["seed1"][1:], CHOSEN, CPU)


# --- stability by role --------------------------------------------------------------------

LAYERS, HEADS = 2, 3


def planted(refits):
    """Heads 1 of all layers are induction heads found again; the others have no role."""
    rng = np.random.default_rng(1)
    names = [f"seed{n + 1}" for n in range(refits)]
    scores = np.full((refits, LAYERS, HEADS, len(ROLES)), 0.1)
    scores[:, :, 0, ROLES.index("induction")] = 0.9
    scores[0, 1, 2, ROLES.index("bos_sink")] = 0.8  # of one refit alone
    m = rng.uniform(0.3, 0.6, (refits, refits, LAYERS, HEADS))
    m[:, :, :, 0] = 0.95
    rows = [
        (names[a], names[b], layer + 1, head + 1, m[a, b, layer, head])
        for a, b, layer, head in np.ndindex(m.shape)
        if a != b
    ]
    columns = ["anchor", "refit", "layer", "head", "similarity"]
    return names, scores, m, pd.DataFrame(rows, columns=columns)


def as_table(names, scores, even, text="synthetic"):
    """Scores of all refits as the jobs of cells write them."""
    rows = [
        (names[place[0]], text, place[1] + 1, place[2] + 1, *scores[place], *even)
        for place in np.ndindex(scores.shape[:3])
    ]
    return pd.DataFrame(rows, columns=["refit", "text", "layer", "head", *ROLES, *EVEN])


def naive_mean(m, marked, kept):
    """Mean over the marked heads of kept refits of their S among kept refits."""
    found = [
        np.mean([m[r, other, layer, head] for other in kept if other != r])
        for r, layer, head in marked
        if r in kept
    ]
    return np.mean(found)


def test_stability_by_role_agrees_with_loops():
    names, scores, m, matches = planted(4)
    even = np.linspace(0.1, 0.5, len(ROLES))
    table = as_table(names, scores, even)
    heads = role_heads(table, matches.sample(frac=1, random_state=0), 0.3)
    assert len(heads) == 4 * LAYERS * HEADS
    for row in heads.itertuples():
        r = names.index(row.refit)
        others = [m[r, o, row.layer - 1, row.head - 1] for o in range(4) if o != r]
        assert row.stability == pytest.approx(np.mean(others))
        assert row.induction == pytest.approx(scores[r, row.layer - 1, row.head - 1, 0])
    assert heads[EVEN].drop_duplicates().to_numpy().tolist() == [even.tolist()]
    seeds = {name: [n, n] for n, name in enumerate(names)}
    table = role_stability(heads, matches, seeds).set_index("role")
    assert table["heads"].to_dict() == dict.fromkeys(ROLES, 0) | {
        "induction": 8,
        "bos_sink": 1,
        "none": 15,
    }
    assert table.loc["induction", "estimate"] == pytest.approx(0.95)
    assert table.loc["induction", "se"] == pytest.approx(0, abs=1e-12)
    marked = [
        place for place in np.ndindex(4, LAYERS, HEADS) if place[2] != 0 and place != (0, 1, 2)
    ]
    assert table.loc["none", "estimate"] == pytest.approx(naive_mean(m, marked, range(4)))
    se = oracles_adjusted.jackknife(lambda kept: naive_mean(m, marked, kept), 4)
    assert table.loc["none", "se"] == pytest.approx(se)
    assert table.loc["bos_sink", "estimate"] == pytest.approx(naive_mean(m, [(0, 1, 2)], range(4)))
    assert np.isnan(table.loc["bos_sink", "se"])
    assert table.loc["bos_sink", "reason"] == "the heads of this role are of too few refits"
    assert np.isnan(table.loc["local", "estimate"])
    assert table.loc["local", "reason"] == "no head has this role"


def test_texts_follow_each_other_whatever_the_order_of_jobs():
    names, scores, _, matches = planted(3)
    texts = [as_table(names, scores, np.zeros(5), text) for text in ("synthetic", "prompts")]
    by_cell = pd.concat(texts).sort_values("refit", kind="stable", ignore_index=True)
    heads = role_heads(by_cell, matches, 0.3)
    count = LAYERS * HEADS
    assert heads["text"].tolist() == ["prompts"] * 3 * count + ["synthetic"] * 3 * count
    assert heads["refit"].tolist() == 2 * [name for name in names for _ in range(count)]


def test_two_refits_have_a_mean_and_no_interval():
    names, scores, _, matches = planted(2)
    heads = role_heads(as_table(names, scores, np.zeros(5)), matches, 0.3)
    table = role_stability(heads, matches, {"seed1": [1, 1], "seed2": [2, 2]}).set_index("role")
    assert table.loc["induction", "estimate"] == pytest.approx(0.95)
    assert np.isnan(table.loc["induction", "se"])
    assert table.loc["induction", "reason"] == "an interval needs at least 3 refits"
