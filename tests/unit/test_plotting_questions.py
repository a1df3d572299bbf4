"""Figures of the questions: what is drawn is in the table."""

import numpy as np
import pandas as pd
import pytest
from looks import LOOK
from test_questions import dose_of, needed_of, pairs_table, seeds_of
from test_role_tables import as_table, planted
from test_variance import simulated

from headstability.plots import questions, roles, style
from headstability.tables.questions import origin_table
from headstability.tables.roles import role_heads, role_stability


@pytest.fixture(autouse=True)
def look():
    style.set_style()


def lines_of(panel):
    return {line.get_label(): list(map(float, line.get_ydata())) for line in panel.get_lines()}


def bars_of(panel):
    return sorted(
        tuple(segment[:, 1]) for group in panel.collections for segment in group.get_segments()
    )


def test_origin_draws_similarities_and_components():
    k, init, data = simulated(np.random.default_rng(0), 3, 3, (0.3, 0.1, 0.2), width=500)
    seeds = seeds_of(init, data)
    table = origin_table(pairs_table(np.array([k, k]), list(seeds)), seeds)
    figure = questions.origin(table, LOOK)
    assert len(figure.axes) == 4
    shown = table.query("weight_decay == '0.1' and layer != 'all'")
    for panel, quantity, labels in (
        (figure.axes[2], "similarity", {"share the init seed": "init", "share neither": "neither"}),
        (figure.axes[3], "variance", {"init seed": "init", "rest": "rest"}),
    ):
        assert "deep, wd 0.1 (3 x 3 seeds)" in panel.get_title()
        rows = shown[shown["quantity"] == quantity]
        for label, source in labels.items():
            expected = rows.loc[rows["source"] == source, "estimate"].tolist()
            assert lines_of(panel)[label] == expected
        assert bars_of(panel) == sorted(zip(rows["low"], rows["high"], strict=True))


def test_dose_draws_layers_their_mean_and_the_loss():
    _, _, table = dose_of(4)
    figure = questions.dose(table, LOOK)
    above, *_, below = figure.axes
    stability = table[table["measure"] == "stability"]
    for label, layer in (("mean of layers", "all"), ("1", "1"), ("2", "2")):
        rows = stability[stability["layer"] == layer]
        assert lines_of(above)[label] == rows["estimate"].tolist()
    losses = table[table["measure"] == "held_out_loss"]
    assert lines_of(below)["mean of layers"] == losses["estimate"].tolist()
    assert [tick.get_text() for tick in above.get_xticklabels()] == ["0\n0", "0.1\n0.14"]
    assert "nats" in below.get_ylabel()


def test_refits_needed_draws_widths_and_says_what_is_missing():
    _, table = needed_of(6)
    panel = questions.refits_needed(table, LOOK).axes[0]
    rows = table.query("weight_decay == '0' and layer == 'all'")
    expected = rows.loc[rows["source"] == "expected", "width"].tolist()
    assert lines_of(panel)["all"] == expected
    assert f"{rows['needed'].iloc[0]} refits needed" in panel.texts[0].get_text()
    assert rows.loc[rows["source"] == "drawn", "width"].tolist() in lines_of(panel).values()
    _, table = needed_of(2)
    panel = questions.refits_needed(table, LOOK).axes[0]
    assert "an interval needs 3" in panel.texts[0].get_text()


def course():
    index = pd.MultiIndex.from_product(
        [["deep"], ["0", "0.1"], ["stability", "delta_loss_zero"], ["all", "1"], [0, 10, 80]],
        names=["architecture", "weight_decay", "measure", "layer", "step"],
    )
    table = index.to_frame(index=False)
    values = np.random.default_rng(0).random(len(table))
    table = table.assign(estimate=values, low=values - 0.1, high=values + 0.1)
    return table.assign(tokens=table["step"] * 100, refits=3)


def test_the_time_course_draws_the_mean_bold_and_layers_thin():
    table = course()
    figure = questions.time_course(table, LOOK)
    for panel, measure in zip(figure.axes, ("stability", "delta_loss_zero"), strict=True):
        for decay, label in style.decay_labels(LOOK).items():
            rows = table[(table["weight_decay"] == decay) & (table["measure"] == measure)]
            mean = rows[rows["layer"] == "all"]
            assert lines_of(panel)[label] == mean["estimate"].tolist()
            assert rows.loc[rows["layer"] == "1", "estimate"].tolist() in lines_of(panel).values()
        assert [t.get_text() for t in panel.get_xticklabels()] == ["0", "1,000", "8,000"]


def test_roles_draw_every_head_once_and_the_means():
    names, scores, _, matches = planted(3)
    seeds = {name: [n, n] for n, name in enumerate(names)}
    tables = []
    for decay in ("0", "0.1"):
        heads = role_heads(as_table(names, scores, np.zeros(5), "prompts"), matches, 0.3)
        labels = {"architecture": "deep", "weight_decay": decay}
        means = role_stability(heads, matches, seeds).assign(**labels)
        tables.append((heads.assign(**labels), means))
    heads, means = (pd.concat(part, ignore_index=True) for part in zip(*tables, strict=True))
    panel = roles.roles(heads, means, LOOK).axes[0]
    dots = [y for line in panel.get_lines() if line.get_marker() == "." for y in line.get_ydata()]
    assert sorted(dots) == sorted(heads["stability"])
    diamonds = [
        y for line in panel.get_lines() if line.get_marker() == "D" for y in line.get_ydata()
    ]
    assert np.allclose(np.sort(diamonds), np.sort(means["estimate"]), equal_nan=True)
    labels = [tick.get_text() for tick in panel.get_xticklabels()]
    assert labels[0] == "induction\nn = 6 / 6"
    assert labels[-1] == "none\nn = 11 / 11"
