"""The page and the figures of the claims, from tables of a study in which they hold."""

import numpy as np
import pandas as pd
import pytest
from test_claims_tables import GAIN, SHAPES, study_of, whole

from headstability.measures.verdicts import LARGER
from headstability.plots import claims as plots
from headstability.plots import style
from headstability.tables.claims_report import CLAIMS, claims_report, verdicts_table

STUDY = {"name": "demo", "prompts": "p", "text": "p", "method": "zero", "refits": 4}
STUDY["margin"] = 0.01
STUDY["conditions"] = [
    {"architecture": name, "weight_decay": decay} for name in SHAPES for decay in GAIN
]
NOT_DEAD = pd.DataFrame(
    {"architecture": ["deep"], "weight_decay": ["0.1"], "layer": [2], "dead": [False]}
)


def test_the_page_says_verdicts_numbers_and_reasons():
    table, _ = study_of()
    page = claims_report(table, NOT_DEAD, STUDY)
    lines = page.splitlines()
    assert [line for line in lines if line.startswith("## ")] == [
        *(f"## {number}. {title}" for number, title in CLAIMS.items()),
        "## Dead heads",
    ]
    assert "No layer is flagged." in page
    rows = table[(table["part"] == "S_early - S_mid") & (table["scope"] == "condition")]
    row = rows[(rows["measure"] == "raw") & (rows["weight_decay"] == "0")].iloc[0]
    text = f"S_early - S_mid = {row['estimate']:.3g} [{row['low']:.3g}, {row['high']:.3g}]"
    assert f"{text}, delta {row['delta']:.3g}: {LARGER}" in page
    assert any(line.startswith(f"- deep, wd 0: **{LARGER}**, p ") for line in lines)
    assert "**inconclusive** (2 layers: early, middle and late need at least 4)." in page
    assert "may rise by less than 1 %" in page
    assert "- deep, wd 0.1 *: " in page, "the paper's claim is about deeper models"
    assert "nan" not in page
    flagged = claims_report(table, NOT_DEAD.assign(dead=True), STUDY)
    assert "- deep, wd 0.1, layer 2: its agreement is no sign" in flagged
    unknown = claims_report(table, NOT_DEAD.assign(dead=np.nan), STUDY)
    assert "Not known where the study has no weight decay 0" in unknown


def test_the_page_begins_with_the_matrix_of_verdicts():
    table, _ = study_of()
    matrix = verdicts_table(table, STUDY["conditions"])
    assert len(matrix) == 11 * len(STUDY["conditions"])
    cells = matrix.set_index(["claim", "measure", "architecture", "weight_decay"])["verdict"]
    for row in whole(table, 0, "rho").itertuples():
        assert cells[0, "rho", row.architecture, row.weight_decay] == row.verdict
    both = whole(table, 2, "raw", weight_decay="0").iloc[0]
    assert both["architecture"] == "deep, deeper"
    assert cells[2, "raw", "deep", "0"] == cells[2, "raw", "deeper", "0"] == both["verdict"]
    assert cells[4, "raw", "deep", "0"] == "", "the claim is about weight decay"
    assert cells[1, "raw", "shallow", "0"] == "", "it cannot be tested on two layers"
    first = claims_report(table, NOT_DEAD, STUDY).splitlines()[2:]
    assert first[0].startswith("| claim | by | deep, wd 0 | deep, wd 0.1 | shallow, wd 0 |")
    assert f"| {cells[0, 'rho', 'deep', '0']} |" in first[2]


def test_every_field_of_the_matrix_is_drawn():
    style.set_style()
    table, _ = study_of()
    matrix = verdicts_table(table, STUDY["conditions"])
    panel = plots.verdicts(matrix).axes[0]
    words = [text.get_text().replace("\n", " ") for text in panel.texts]
    assert sorted(words) == sorted(word or "-" for word in matrix["verdict"])
    faces = {patch.get_facecolor() for patch in panel.patches}
    assert len(faces) == len(set(words))


@pytest.mark.parametrize("how", [{}, {"refits": 2, "decays": ("0",)}, {"crossed": True}])
def test_the_forest_shows_every_estimate(how):
    style.set_style()
    table, _ = study_of(**how)
    figure = plots.claims(table)
    parts = table[(table["part"] != "all parts") & (table["scope"] != "described")]
    drawn = [
        line.get_xdata()[0]
        for axes in figure.axes
        for line in axes.get_lines()
        if line.get_marker() in ("o", "^", "s", "v")
    ]
    assert sorted(drawn) == sorted(parts["estimate"].dropna().astype(float))
    titles = {axes.get_title() for axes in figure.axes}
    assert {title.split(":")[0] for title in titles if title} == {f"claim {n}" for n in range(6)}
