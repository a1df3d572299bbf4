"""The head atlas: which heads, which patterns, which labels; what is drawn is in the table."""

import numpy as np
import pandas as pd
import pytest
import torch
from looks import LOOK
from test_conditions import provenance
from test_model import SHAPES, random_model

from headstability.analysis.activations import activations
from headstability.analysis.atlas import atlas_table, choose_heads, token_labels, visible
from headstability.analysis.similarities import condition_similarity
from headstability.errors import UserError
from headstability.plots.atlas import head_atlas
from headstability.plots.style import set_style
from headstability.storage.files import read_csv, write_csv
from headstability.storage.stores import pattern_of, write_cache
from headstability.tables.measures import condition_tables

REFITS = ["seed1", "seed2", "seed3"]
SHAPE = SHAPES[0]
PROMPTS = [[3, 7, 9], [3, 1, 4, 1, 5, 9], [3, 2]]
# Texts that a careless reader of CSVs takes for missing values or numbers.
LABELS = ["BOS", "NA", "007", "null", "$x", "␣,"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Open caches by refit, the stability tables, and the atlas of the second prompt."""
    folder = tmp_path_factory.mktemp("caches")
    caches, paths = {}, []
    for number, refit in enumerate(REFITS):
        model = random_model(SHAPE, seed=number, dtype=torch.float32)
        caches[refit] = activations(model, PROMPTS, torch.device("cpu"))
        paths.append(folder / f"{refit}.zarr.zip")
        write_cache(paths[-1], caches[refit], provenance(refit))
    tables = condition_tables(condition_similarity(REFITS, paths)[0], REFITS)
    order = {name: caches[name] for name in ("seed2", "seed1", "seed3")}
    own = tables["heads"][tables["heads"]["anchor"] == "seed2"]
    heads = choose_heads(own, 4)
    return order, tables, heads, atlas_table(order, heads, tables["matches"], LABELS, 2, 5)


def test_patterns_are_those_of_the_best_matches(made):
    caches, tables, _heads, table = made
    matches = tables["matches"].query("anchor == 'seed2'").set_index(["refit", "layer", "head"])
    assert list(dict.fromkeys(table["refit"])) == ["seed2", "seed1", "seed3"]
    for (layer, head, refit), part in table.groupby(["layer", "head", "refit"]):
        match = part["match"].unique().item()
        if refit == "seed2":
            assert match == head
            assert part["cosine"].isna().all()
        else:
            found = matches.loc[(refit, layer, head)]
            assert match == found["match"]
            assert (part["cosine"] == found["similarity"]).all()
        full = pattern_of(caches[refit], layer, match, 2).values
        for row in part.itertuples():
            assert row.attention == full[row.query - 1, row.key - 1]
            assert row.query_token == LABELS[row.query - 1]
            assert row.key_token == LABELS[row.key - 1]
        assert part[["query", "key"]].to_numpy().tolist() == [
            [q, k] for q in range(1, 6) for k in range(1, q + 1)
        ]
    stable = tables["heads"].query("anchor == 'seed2'").set_index(["layer", "head"])["stability"]
    for row in table.drop_duplicates(["layer", "head"]).itertuples():
        assert row.stability == stable[row.layer, row.head]


def test_a_prompt_shorter_than_what_is_shown(made):
    caches, tables, heads, _ = made
    table = atlas_table(caches, heads, tables["matches"], LABELS[:2], 3, 5)
    assert table["query"].max() == 2


def own_stability(layers, heads):
    rows = [(layer, head, ((layer * 7 + head * 5) % 11) / 11) for layer in layers for head in heads]
    return pd.DataFrame(rows, columns=["layer", "head", "stability"])


@pytest.mark.parametrize(
    ("layers", "rows", "expected"),
    [
        (1, 6, [1]),
        (2, 6, [1, 2]),
        (4, 6, [1, 3, 4]),
        (8, 6, [1, 5, 8]),
        (8, 3, [1]),
        (3, 4, [1, 3]),
    ],
)
def test_chosen_heads_are_the_extremes_of_layers_spread_over_depth(layers, rows, expected):
    table = own_stability(range(1, layers + 1), range(1, 6))
    chosen = choose_heads(table, rows)
    assert list(dict.fromkeys(chosen["layer"])) == expected
    assert len(chosen) == 2 * len(expected) <= rows
    for row in chosen.itertuples():
        part = table[table["layer"] == row.layer]["stability"]
        assert row.stability == (part.max() if row.kind == "most stable" else part.min())


def test_layers_of_one_head_have_one_row():
    assert choose_heads(own_stability([1, 2], [1]), 6)["kind"].tolist() == ["most stable"] * 2


@pytest.mark.parametrize(
    ("token", "label"),
    [(" the", "␣the"), ("\n\n", "↵↵"), ("a\tb", "a→b"), ("", "∅"), ("\x00", "\ufffd"), ("é", "é")],
)
def test_labels_show_what_leaves_no_mark(token, label):
    assert visible(token) == label


def test_labels_of_a_prompt():
    prompts = {"name": "mine", "bos": 3, "tokens": PROMPTS}
    labels = token_labels(prompts, 1, lambda ids: f" {ids[0]}")
    assert labels == ["BOS", "␣7", "␣9"]
    with pytest.raises(UserError, match=r"atlas\.prompt: 4 is beyond the 3 prompts of prompts\.mi"):
        token_labels(prompts, 4, str)


def test_the_figure_shows_the_table(made, tmp_path):
    """As it is read from the file: NA, null and 007 are tokens."""
    set_style()
    write_csv(tmp_path / "atlas.csv", made[3])
    table = read_csv(tmp_path / "atlas.csv")
    figure = head_atlas(table, "a, weight decay 0", LOOK)
    panels = np.array(figure.axes[:12]).reshape(4, 3)
    groups = table.groupby(["layer", "head", "kind"], sort=False)
    for row, (_, part) in zip(panels, groups, strict=True):
        for panel, refit in zip(row, ["seed2", "seed1", "seed3"], strict=True):
            shown = part[part["refit"] == refit]
            square = panel.images[0].get_array()
            for item in shown.itertuples():
                assert square[item.query - 1, item.key - 1] == item.attention
            assert np.ma.count_masked(np.ma.masked_invalid(square)) == 10
            corner = panel.texts[0].get_text()
            assert f"head {shown['match'].iloc[0]}" in corner
            value = shown["cosine" if refit != "seed2" else "stability"].iloc[0]
            assert f"{value:.2f}" in corner
        labels = [label.get_text() for label in row[0].get_yticklabels()]
        assert labels == LABELS[:5]
    assert [label.get_text() for label in panels[-1][1].get_xticklabels()] == LABELS[:5]
    assert figure.axes[-1].get_ylabel() == "attention"
