"""Figures of layers show what their tables hold, for all anchors or for one."""

import numpy as np
import pandas as pd
import pytest
from looks import LOOK
from test_layer_tables import SHAPES, common_heads, cross_layer, layer_stability

from headstability.plots import depth, layers, style
from headstability.tables import layers as tables

DECAYS = ["0.1", "0", "1"]
LAYER_LOOK = {**LOOK, "weight_decays": DECAYS}


def draw(anchor="all", decays=DECAYS, with_self=True):
    """Every figure of layers with its table."""
    style.set_style()
    look = {**LAYER_LOOK, "anchor": anchor, "with_self": with_self, "weight_decays": decays}
    by_layer = layer_stability(decays)
    made = {
        "weight_decay_contrast": tables.weight_decay_contrast_table(by_layer),
        "extremes": tables.extremes_table(by_layer, SHAPES),
        "layer_stability": by_layer,
    }
    if decays == DECAYS:
        made["commonness"] = tables.commonness_table(common_heads())
        made["cross_layer"] = tables.cross_layer_table(cross_layer(), by_layer)
    modules = {"extremes": depth, "cross_layer": depth}
    nothing = pd.DataFrame(columns=["architecture", "weight_decay", "layer", "dead"])
    more = {"layer_stability": [nothing]}
    return {
        name: (getattr(modules.get(name, layers), name)(table, *more.get(name, []), look), table)
        for name, table in made.items()
    }


@pytest.fixture(params=["all", "seed2"])
def shown(request):
    return request.param, draw(request.param)


def numbers(values):
    return {round(value, 12) for value in np.asarray(values, dtype=float).ravel().tolist()}


def thick(axes):
    return [line for line in axes.get_lines() if line.get_linewidth() == 2]


@pytest.mark.parametrize(
    ("name", "unit", "column"),
    [("weight_decay_contrast", "anchor", "stability"), ("commonness", "refit", "commonness")],
)
def test_the_chosen_anchor_is_bold(shown, name, unit, column):
    anchor, figures = shown
    figure, table = figures[name]
    axes = figure.axes[0]
    part = table[(table["architecture"] == "deep") & (table[unit] == anchor)]
    assert len(thick(axes)) == 3
    for line, decay in zip(thick(axes), DECAYS, strict=True):
        expected = part[part["weight_decay"] == decay][column]
        assert np.array_equal(line.get_ydata(), expected)
        assert line.get_color() == style.decay_colors(LAYER_LOOK)[decay]
    thin = [line for line in axes.get_lines() if line.get_linewidth() == 0.6]
    assert len(thin) == 3 * (3 if anchor == "all" else 2)
    assert "(3 refits)" in axes.get_title()


def test_differences_are_drawn_of_all_but_the_smallest_weight_decay(shown):
    anchor, figures = shown
    figure, table = figures["weight_decay_contrast"]
    below = figure.axes[2]  # panels: deep, flat; below: deep, flat
    part = table[(table["architecture"] == "deep") & (table["anchor"] == anchor)]
    drawn = [numbers(line.get_ydata()) for line in thick(below)]
    assert drawn == [numbers(part[part["weight_decay"] == d]["difference"]) for d in ("0.1", "1")]
    assert "wd 0," in below.get_ylabel()


def test_one_weight_decay_says_that_there_is_no_contrast():
    figure, _ = draw(decays=["0.1"])["weight_decay_contrast"]
    assert [text.get_text() for text in figure.axes[2].texts] == ["only one weight decay"]


@pytest.mark.parametrize("with_self", [True, False])
def test_commonness_with_and_without_the_head_itself(with_self):
    figure, table = draw(with_self=with_self)["commonness"]
    column = "commonness" if with_self else "commonness_of_others"
    expected = table[(table["refit"] == "all") & (table["architecture"] == "deep")]
    assert numbers([line.get_ydata() for line in thick(figure.axes[0])]) == numbers(
        expected[column]
    )
    label = figure.axes[0].get_ylabel()
    assert ("itself included" if with_self else "itself left out") in label


def test_a_single_anchor_has_the_spread_over_its_heads():
    assert not draw("all")["layer_stability"][0].axes[0].collections
    figure, table = draw("seed2")["layer_stability"]
    part = table.query("architecture == 'deep' and anchor == 'seed2' and weight_decay == '0.1'")
    (bars, *_) = [
        c for c in figure.axes[0].collections if np.allclose(c.get_color()[0][:3], colour("0.1"))
    ]
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    assert np.allclose(ends[:, 1] - ends[:, 0], 2 * part["heads_sd"])


def colour(decay):
    return style.decay_colors(LAYER_LOOK)[decay]


def test_proportions_and_both_stabilities_are_drawn(shown):
    anchor, figures = shown
    figure, table = figures["cross_layer"]
    part = table[(table["anchor"] == anchor) & (table["architecture"] == "deep")]
    for axes, decay in zip(figure.axes, DECAYS, strict=False):
        one = part[part["weight_decay"] == decay]
        grid = one.pivot(index="layer", columns="match_layer", values="proportion")
        assert np.allclose(axes.collections[0].get_array().reshape(3, 3), grid[::-1])
        assert axes.collections[0].get_clim() == (0, 1)
        assert f"wd {decay}" in axes.get_title()
    lines = [numbers(line.get_ydata()) for line in figure.axes[3].get_lines()]
    for place, decay in enumerate(DECAYS):
        one = part[part["weight_decay"] == decay].drop_duplicates("layer")
        assert lines[2 * place] == numbers(one["stability"])
        assert lines[2 * place + 1] == numbers(one["same_layer_stability"])


def test_extremes_are_at_their_depths_under_readable_names(shown):
    anchor, figures = shown
    figure, table = figures["extremes"]
    left, right = figure.axes
    part = table[table["anchor"] == anchor]
    large = [line for line in left.get_lines() if line.get_markersize() == 7]
    assert len(large) == 2 * len(part)
    for marker, what in (("^", "most"), ("v", "least")):
        depths = sorted(line.get_xdata()[0] for line in large if line.get_marker() == marker)
        assert np.allclose(depths, sorted(part[f"{what}_depth"]))
    widths = sorted(bar.get_width() for bar in right.patches)
    assert np.allclose(widths, sorted(part["delta"]))
    names = [label.get_text() for label in left.get_yticklabels()]
    assert "deep: 3 layers, 2 heads\nMLP, wd 0.1, n = 3" in names
    assert "flat: 1 layer, 2 heads\nattention-only, wd 1, n = 3" in names
    assert names[-1].startswith("flat"), "the shallowest stands above"


@pytest.mark.parametrize(
    "name", ["weight_decay_contrast", "extremes", "commonness", "cross_layer", "layer_stability"]
)
def test_same_bytes_twice(tmp_path, name):
    for place in ("a", "b"):
        files = {kind: tmp_path / place / f"figure.{kind}" for kind in ("pdf", "png")}
        style.save_figure(draw()[name][0], files, LAYER_LOOK["dpi"])
    for kind in ("pdf", "png"):
        first = (tmp_path / "a" / f"figure.{kind}").read_bytes()
        assert first == (tmp_path / "b" / f"figure.{kind}").read_bytes()
        assert len(first) > 1000
