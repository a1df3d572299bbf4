"""Figures of residual streams, norms and the map of heads: what is drawn is in the table."""

import numpy as np
import pandas as pd
import pytest
from looks import LOOK
from matplotlib.colors import to_hex

from headstability.plots import meta_sne as maps
from headstability.plots import streams as plots
from headstability.plots import style
from headstability.tables import streams as tables

STREAM_LOOK = {**LOOK, "kernel": "linear", "estimator": "debiased"}
LAYERS = {"shallow": 2, "deep": 3}
REFITS = ["seed1", "seed2", "seed3"]
CONDITION = ["architecture", "weight_decay"]


def by_layer(*inner):
    """Labels of every condition and layer, with every choice of more labels."""
    grid = [
        (a, w, layer) for a in LAYERS for w in ("0", "0.1") for layer in range(1, LAYERS[a] + 1)
    ]
    return [(*key, *more) for key in grid for more in inner]


@pytest.fixture(scope="module")
def figures():
    rng = np.random.default_rng(0)
    style.set_style()

    def table(rows, names, **values):
        made = pd.DataFrame(rows, columns=[*CONDITION, "layer", *names])
        return made.assign(**{name: rng.random(len(made)) for name in values}, refits=3)

    layers = table(by_layer(*[(name,) for name in ("all", *REFITS)]), ["anchor"], stability=0)
    choices = [
        (a, b, stream, kernel, estimator)
        for a, b in (("seed1", "seed2"), ("seed1", "seed3"), ("seed2", "seed3"))
        for stream in ("resid_mid", "resid_pre")
        for kernel in ("rbf", "linear")
        for estimator in ("biased", "debiased")
    ]
    names = ["refit_a", "refit_b", "stream", "kernel", "estimator"]
    pairs = table(by_layer(*choices), names, cka=0).assign(positions=5100)
    residual = tables.residual_table(pairs.drop(columns="refits"), layers)
    each = [(refit,) for refit in REFITS]
    norms = table(by_layer(*each), ["refit"], attention_out_norm=0, resid_mid_norm=0)
    activations = tables.attention_norms_table(norms.drop(columns="refits"))
    matrices = [(refit, name) for refit in REFITS for name in ("W_Q", "W_O", "W_out")]
    sizes = table(by_layer(*matrices), ["refit", "matrix"], norm=0).drop(columns="refits")
    weights = tables.weight_norms_table(sizes, layers)
    heads = pd.DataFrame(
        [
            (a, r, n, h)
            for a in LAYERS
            for r in REFITS
            for n in range(1, LAYERS[a] + 1)
            for h in (1, 2)
        ],
        columns=["architecture", "refit", "layer", "head"],
    )
    heads["relative_depth"] = heads["layer"] / heads["architecture"].map(LAYERS)
    heads = heads.assign(x=rng.normal(size=len(heads)), y=rng.normal(size=len(heads)))
    heads = heads.assign(prompts=100, perplexity=29 / 3, seed=0)
    return {
        "residual": (plots.residual(residual, STREAM_LOOK), residual),
        "attention_norms": (plots.attention_norms(activations, STREAM_LOOK), activations),
        "weight_norms": (plots.weight_norms(weights, STREAM_LOOK), weights),
        "meta_sne": (maps.meta_sne(heads, "weight decay 0", STREAM_LOOK), heads),
    }


def drawn(axes):
    return {tuple(line.get_ydata()) for line in axes.get_lines() if len(line.get_xdata()) > 1}


def test_residual_shows_the_chosen_cka_above_stability(figures):
    figure, table = figures["residual"]
    axes = np.array(figure.axes).reshape(3, 2)
    chosen = table[(table["kernel"] == "linear") & (table["estimator"] == "debiased")]
    for column, architecture in enumerate(LAYERS):
        part = chosen[chosen["architecture"] == architecture]
        for row, (stream, measure) in enumerate(
            (("resid_pre", "cka"), ("resid_mid", "cka"), ("resid_mid", "stability"))
        ):
            groups = part[part["stream"] == stream].groupby(["weight_decay", "refit"])
            expected = {tuple(group[measure]) for _, group in groups}
            assert drawn(axes[row, column]) == expected
            assert len(expected) == 8
            assert axes[row, column].get_xlabel() == "layer"
    labels = [axes[row, 0].get_ylabel() for row in range(3)]
    assert "before attention" in labels[0]
    assert all("CKA (linear, debiased)" in label for label in labels[:2])
    assert "another scale" in labels[2]
    assert axes[0, 1].get_title() == "deep (3 refits, 5100 tokens)"


def test_attention_norms_shows_both_norms_from_zero(figures):
    figure, table = figures["attention_norms"]
    axes = np.array(figure.axes).reshape(2, 2)
    for row, measure in enumerate(("attention_out_norm", "resid_mid_norm")):
        for column, architecture in enumerate(LAYERS):
            part = table[table["architecture"] == architecture]
            groups = part.groupby(["weight_decay", "refit"])
            assert drawn(axes[row, column]) == {tuple(group[measure]) for _, group in groups}
            low, high = axes[row, column].get_ylim()
            assert low == 0
            assert high > table[measure].max(), "nothing is cut off in any panel"


def test_weight_norms_shows_every_correlation_or_says_that_there_is_none(figures):
    figure, table = figures["weight_norms"]
    shallow, deep = figure.axes
    assert [text.get_text() for text in shallow.texts] == ["no correlation: it takes 3 layers"]
    assert not deep.texts
    part = table[table["architecture"] == "deep"]
    found = [
        y for line in deep.get_lines() if line.get_marker() != "None" for y in line.get_ydata()
    ]
    assert sorted(found) == sorted(part["pearson"])
    assert [label.get_text() for label in deep.get_xticklabels()][:2] == ["$W_{Q}$", "$W_{O}$"]


def test_the_map_shows_every_head_three_times(figures):
    figure, table = figures["meta_sne"]
    first, second, third = figure.axes[:3]
    places = table[["x", "y"]].to_numpy()
    for axes in (second, third):
        assert np.allclose(axes.collections[0].get_offsets(), places)
    assert np.allclose(second.collections[0].get_array(), table["layer"])
    assert np.allclose(third.collections[0].get_array(), table["relative_depth"])
    apart = np.concatenate([points.get_offsets() for points in first.collections])
    assert sorted(map(tuple, apart)) == sorted(map(tuple, places))
    texts = [text.get_text() for text in first.get_legend().get_texts()]
    assert texts == ["shallow (12)", "deep (18)"]
    assert "30 heads of 3 refits, 100 prompts, perplexity 9.67" in figure.get_suptitle()


def test_colours_are_those_of_the_weight_decays(figures):
    wanted = {to_hex(color) for color in style.decay_colors(STREAM_LOOK).values()}
    for name in ("residual", "attention_norms"):
        lines = figures[name][0].axes[0].get_lines()
        assert {to_hex(line.get_color()) for line in lines} == wanted


@pytest.mark.parametrize("name", ["residual", "attention_norms", "weight_norms", "meta_sne"])
def test_same_bytes_twice(figures, tmp_path, name):
    for place in ("a", "b"):
        files = {kind: tmp_path / place / f"figure.{kind}" for kind in ("pdf", "png")}
        style.save_figure(figures[name][0], files, STREAM_LOOK["dpi"])
    for kind in ("pdf", "png"):
        first = (tmp_path / "a" / f"figure.{kind}").read_bytes()
        assert first == (tmp_path / "b" / f"figure.{kind}").read_bytes()
