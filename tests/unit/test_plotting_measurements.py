"""Figures of ablation methods, perplexity and prompt length: what is drawn is in the table."""

import numpy as np
import pandas as pd
import pytest
from looks import LOOK
from matplotlib.colors import to_rgb

from headstability.plots import ablation, layers, perplexity, style
from headstability.tables.ablation import (
    perplexity_table,
    stability_ablation_table,
    stability_ablation_trend_table,
)
from headstability.tables.stability import prompt_length_table

CONDITIONS = [(a, w) for a in ("deep", "flat") for w in ("0", "0.1")]
REFITS = ("seed1", "seed2", "seed3")


def grid(*names, **values):
    """Every combination of conditions and the given values, with random numbers under `names`."""
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([CONDITIONS, *values.values()]).to_frame(index=False)
    index.columns = ["condition", *values]
    index.insert(0, "architecture", index["condition"].str[0])
    index.insert(1, "weight_decay", index.pop("condition").str[1])
    return index.assign(**{name: rng.random(len(index)) for name in names})


@pytest.fixture
def heads():
    methods, numbers = ("zero", "mean"), (1, 2, 3, 4)
    return grid(
        "stability", "delta_loss", method=methods, refit=REFITS, layer=numbers, head=numbers
    )


@pytest.fixture(autouse=True)
def look():
    style.set_style()


def values(line):
    return [float(y) for y in line.get_ydata()]


@pytest.mark.parametrize("measure", ["pearson", "kendall"])
def test_both_methods_and_the_chosen_correlation(heads, measure):
    table = stability_ablation_table(heads)
    figure = ablation.stability_ablation(table, LOOK | {"correlation": measure})
    panel = figure.axes[0]
    assert {"pearson": "Pearson", "kendall": "Kendall"}[measure] in panel.get_ylabel()
    assert "nats" in figure.axes[2].get_ylabel()
    assert panel.get_title() == "deep (3 refits, 4 heads a layer)"
    lines = {line.get_label(): line for line in panel.get_lines()}
    colors = style.decay_colors(LOOK)
    for decay in ("0", "0.1"):
        for method, drawn in (("zero", "-"), ("mean", "--")):
            line = lines[f"wd {decay}, {method} ablation"]
            chosen = table.query(
                "architecture == 'deep' and weight_decay == @decay and method == @method "
                "and refit == 'all'"
            )
            assert values(line) == chosen[measure].tolist()
            assert line.get_linestyle() == drawn
            assert to_rgb(line.get_color()) == to_rgb(colors[decay])
    thin = [line for line in panel.get_lines() if line.get_linewidth() == 0.6]
    assert len(thin) == 2 * len(REFITS)
    assert all(line.get_linestyle() == "-" for line in thin)


def test_the_trend_over_depth(heads):
    table = stability_ablation_table(heads)
    trend = stability_ablation_trend_table(table)
    assert len(trend) == len(CONDITIONS) * 2 * 2 * (len(REFITS) + 1)
    depth = [0.125, 0.375, 0.625, 0.875]
    for row in trend[trend["refit"] != "all"].itertuples():
        part = table.query(
            "architecture == @row.architecture and weight_decay == @row.weight_decay "
            "and method == @row.method and refit == @row.refit"
        ).sort_values("layer")
        y = part[row.correlation].tolist()
        top = sum((d - 0.5) * (v - sum(y) / 4) for d, v in zip(depth, y, strict=True))
        assert row.slope == pytest.approx(top / sum((d - 0.5) ** 2 for d in depth))
        assert row.deep_mean == pytest.approx((y[2] + y[3]) / 2)
    one = trend.query("architecture == 'flat' and weight_decay == '0' and method == 'mean'")
    one = one[one["correlation"] == "kendall"].set_index("refit")
    for measure in ("slope", "deep_mean"):
        assert one.loc["all", measure] == pytest.approx(one.loc[list(REFITS), measure].mean())


def test_layers_without_a_correlation_are_left_out_of_the_trend(heads):
    heads.loc[heads["layer"] == 4, "delta_loss"] = 1.0
    table = stability_ablation_table(heads)
    assert table[table["layer"] == 4]["pearson"].isna().all()
    trend = stability_ablation_trend_table(table)
    assert trend["slope"].notna().all()
    row = trend.query("refit == 'seed1' and correlation == 'pearson'").iloc[0]
    chosen = table.query(
        "architecture == @row.architecture and weight_decay == @row.weight_decay "
        "and method == @row.method and refit == 'seed1' and layer == 3"
    )
    assert row["deep_mean"] == pytest.approx(chosen["pearson"].iloc[0])
    single = stability_ablation_trend_table(table[table["layer"] == 1])
    assert single[["slope", "deep_mean"]].isna().all(axis=None)


@pytest.fixture
def perplexities():
    table = grid("perplexity", refit=REFITS, text=("held_out", "wiki")).assign(tokens=1234, nll=1.0)
    return perplexity_table(table)


def test_perplexity_of_every_refit(perplexities):
    figure = perplexity.perplexity(perplexities, LOOK)
    assert [axes.get_title() for axes in figure.axes] == [
        "deep (3 refits)",
        "flat (3 refits)",
        "",
        "",
    ]
    assert figure.axes[2].get_ylabel() == "perplexity on wiki\n(1,234 predicted tokens)"
    colors = style.decay_colors(LOOK)
    for panel, (name, text) in zip(
        figure.axes,
        [(a, t) for t in ("held_out", "wiki") for a in ("deep", "flat")],
        strict=True,
    ):
        part = perplexities[(perplexities["architecture"] == name) & (perplexities["text"] == text)]
        assert panel.get_xlabel() == "weight decay"
        drawn = [line for line in panel.get_lines() if line.get_marker() == "o"]
        assert len(drawn) == 6
        for place, decay in enumerate(("0", "0.1")):
            here = [line for line in drawn if line.get_xdata()[0] == place]
            expected = part.query("weight_decay == @decay and refit != 'all'")["perplexity"]
            assert sorted(values(line)[0] for line in here) == sorted(expected)
            assert {to_rgb(line.get_color()) for line in here} == {to_rgb(colors[decay])}
        mean = part.query("weight_decay == '0.1' and refit == 'all'")["relative_difference"]
        assert [text.get_text() for text in panel.texts] == [f"{mean.iloc[0]:+.2%}"]


@pytest.fixture
def lengths():
    table = grid("stability", tokens=(5, 20), anchor=REFITS, layer=(1, 2, 3))
    return prompt_length_table(table.assign(prompts=7, heads_sd=0.1))


def test_a_line_a_layer_by_prompt_length(lengths):
    figure = layers.prompt_length(lengths, LOOK)
    panel = figure.axes[3]
    assert panel.get_title() == "flat, wd 0.1 (3 refits, 7 prompts)"
    assert "tokens" in panel.get_xlabel()
    chosen = lengths.query("architecture == 'flat' and weight_decay == '0.1' and anchor == 'all'")
    for layer, line in enumerate(panel.get_lines(), start=1):
        expected = chosen[chosen["layer"] == layer]
        assert values(line) == expected["stability"].tolist()
        assert line.get_xdata().tolist() == [5, 20]
    assert len(panel.get_lines()) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1", "2", "3"]


def test_same_bytes_twice(lengths, perplexities, tmp_path):
    for draw, table in (
        (layers.prompt_length, lengths),
        (perplexity.perplexity, perplexities),
    ):
        for place in ("a", "b"):
            files = {"png": tmp_path / f"{place}.png", "pdf": tmp_path / f"{place}.pdf"}
            style.save_figure(draw(table, LOOK), files, 60)
        for kind in ("png", "pdf"):
            first, second = (tmp_path / f"{place}.{kind}" for place in ("a", "b"))
            assert first.read_bytes() == second.read_bytes()
