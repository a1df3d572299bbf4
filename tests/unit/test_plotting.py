import numpy as np
import pandas as pd
import pytest
from looks import LOOK

from headstability.plots import ablation, heads, layers, style
from headstability.tables import ablation as ablation_tables
from headstability.tables import stability as stability_tables

ALL_ANCHORS = {**LOOK, "anchor": "all"}


@pytest.fixture
def stability():
    rng = np.random.default_rng(0)
    rows = [
        ("deep", w, r, layer, h, rng.random())
        for w in ("0", "0.1")
        for r in ("seed1", "seed2", "seed3")
        for layer in (1, 2, 3)
        for h in (1, 2, 3)
    ]
    columns = ["architecture", "weight_decay", "anchor", "layer", "head", "stability"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture
def figures(stability):
    rng = np.random.default_rng(1)
    style.set_style()
    refits = stability[["architecture", "weight_decay", "anchor"]].drop_duplicates()
    refits = refits.rename(columns={"anchor": "refit"}).assign(held_out_loss=3.25)
    ablations = stability.rename(columns={"anchor": "refit"}).drop(columns="stability")
    ablations["method"] = "zero"
    ablations["delta_loss"] = rng.normal(size=len(ablations))
    by_layer = stability_tables.layer_stability_table(stability, refits)
    correlations = ablation_tables.stability_ablation_table(
        ablation_tables.heads_tables(stability, ablations)["heads"]
    )
    dead = ablation_tables.dead_heads_table(ablations)
    dead["dead"] = (dead["weight_decay"] == "0") & (dead["layer"] == 2)
    decayed = (ablations["weight_decay"] == "0.1") & (ablations["layer"] == 2)
    costs = ablations.assign(delta_loss=np.where(decayed, 0.01, 1.0))
    shown = stability[stability["weight_decay"] == "0.1"]
    anchor = stability_tables.head_map_table(shown, costs, "seed2", "0.1")
    pairs = pd.DataFrame(
        [(a, b, layer, rng.random()) for a in "xyz" for b in "xyz" if a != b for layer in (1, 2)],
        columns=["refit_a", "refit_b", "layer", "stability"],
    )
    return {
        "layer_stability": (layers.layer_stability(by_layer, dead, ALL_ANCHORS), by_layer),
        "stability_ablation": (
            ablation.stability_ablation(correlations, ALL_ANCHORS | {"correlation": "pearson"}),
            correlations,
        ),
        "head_map": (heads.head_map(anchor, "deep, weight decay 0.1", ALL_ANCHORS), anchor),
        "pairwise": (heads.pairwise(pairs, "deep, weight decay 0.1", ALL_ANCHORS), pairs),
    }


@pytest.mark.parametrize("name", ["layer_stability", "stability_ablation"])
def test_every_line_is_in_the_table(figures, name):
    figure, table = figures[name]
    numbers = set(table.select_dtypes("number").to_numpy().ravel().tolist())
    drawn = 0
    for axes in figure.axes:
        for line in axes.get_lines():
            if len(line.get_xdata()) == 3:
                assert set(np.asarray(line.get_ydata()).tolist()) <= numbers
                drawn += 1
        assert axes.get_xlabel() == "layer"
    assert drawn == 8 * (len(figure.axes))
    assert all(unit in figure.axes[0].get_ylabel() for unit in ["stability"])


def test_legend_names_decay_and_held_out_loss(figures):
    texts = [t.get_text() for t in figures["layer_stability"][0].axes[0].get_legend().get_texts()]
    first, second = texts
    assert first.startswith("wd 0, held-out loss 3.250 nats\n")
    assert second == "wd 0.1, held-out loss 3.250 nats"


def test_head_map_shows_the_table(figures):
    figure, table = figures["head_map"]
    values = figure.axes[0].collections[0].get_array().reshape(3, 3)
    expected = table.pivot(index="layer", columns="head", values="stability").to_numpy()[::-1]
    assert np.array_equal(values, expected)
    assert figure.axes[1].get_ylabel() == "head stability $S$ (cosine)"


def test_pairwise_has_a_panel_a_layer_on_one_scale(figures):
    figure, table = figures["pairwise"]
    meshes = [axes.collections[0] for axes in figure.axes[:2]]
    assert {mesh.get_clim() for mesh in meshes} == {
        (table["stability"].min(), table["stability"].max())
    }
    assert np.ma.count_masked(meshes[0].get_array()) == 3, "the diagonal is empty"


@pytest.mark.parametrize("name", ["layer_stability", "stability_ablation", "head_map", "pairwise"])
def test_same_bytes_twice(figures, tmp_path, name):
    figure, _ = figures[name]
    for place in ("a", "b"):
        files = {kind: tmp_path / place / f"figure.{kind}" for kind in ("pdf", "png")}
        style.save_figure(figure, files, ALL_ANCHORS["dpi"])
    for kind in ("pdf", "png"):
        first = (tmp_path / "a" / f"figure.{kind}").read_bytes()
        assert first == (tmp_path / "b" / f"figure.{kind}").read_bytes()
        assert len(first) > 1000


def test_colours_follow_the_weight_decay():
    colors = style.decay_colors(ALL_ANCHORS)
    assert list(colors) == ["0", "0.1"]
    assert len(set(colors.values())) == 2


def test_dead_heads_are_marked(figures):
    figure, table = figures["head_map"]
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["3", "2 (dead)", "1"]
    assert table.groupby("layer")["dead"].all().tolist() == [False, True, False]
    figure, _ = figures["layer_stability"]
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert [text.endswith("\nheads of layer 2 are dead") for text in texts] == [True, False]
