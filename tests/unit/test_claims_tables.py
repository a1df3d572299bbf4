"""Tables and the page of the claims, from measured tables with a known truth."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headstability.measures import claims as statistics
from headstability.plots import claims as plots
from headstability.plots import style
from headstability.tables import claims, replicates
from headstability.tables.claims_report import claims_report

SHAPE = {"layers": 4, "heads": 4, "d_model": 16, "mlp": True}
SHAPES = {"deep": SHAPE, "shallow": {**SHAPE, "layers": 2}}
DELTAS = {
    "middle_stability": 0.02,
    "middle_distinctness": 0.02,
    "depth": 0.02,
    "ablation_mean": 0.1,
    "ablation_slope": 0.1,
    "weight_decay": 0.02,
    "perplexity_margin": 0.01,
    "stream": 0.05,
}
PUBLISHED = pd.read_csv(Path(__file__).resolve().parents[2] / "docs/published/layers.csv")
# The middle of `deep` is the least stable; weight decay helps; the deeper model is less stable.
LEVELS = {"deep": [0.9, 0.5, 0.5, 0.8], "shallow": [0.9, 0.7]}
GAIN = {"0": 0.0, "0.1": 0.1}
NULL = 0.3


def measured(refits=4, decays=("0", "0.1"), noise=0.01):
    """The tables of a study in which every claim holds clearly, stream and z aside."""
    rng = np.random.default_rng(0)
    names = [f"seed{number + 1}" for number in range(refits)]
    out = {name: [] for name in ("pairs", "without_prompts", "matches", "commonness", "residual")}
    out |= {"ablation": [], "perplexity": []}
    for architecture, levels in LEVELS.items():
        for decay in decays:
            label = {"architecture": architecture, "weight_decay": decay}
            for layer, level in enumerate(levels, start=1):
                value = level + GAIN[decay]
                here = {**label, "layer": layer}
                common = 0.4 if level == 0.5 else 0.6
                groups = [{"group": group, "stability": value} for group in (1, 2, 3)]
                for name in ("raw", "excess", "distinctness"):
                    out["without_prompts"] += [{**here, "measure": name, **g} for g in groups]
                for a, one in enumerate(names):
                    for head in range(1, 5):
                        key = {**here, "refit": one, "head": head}
                        out["commonness"].append({**key, "commonness": common})
                        cost = (5 - head) * (1 if layer > len(levels) / 2 else -1)
                        out["ablation"].append({**key, "method": "zero", "delta_loss": cost})
                        out["ablation"].append({**key, "method": "mean", "delta_loss": -cost})
                    for other in names[a + 1 :]:
                        raw = value + noise * rng.normal()
                        pair = {**here, "refit_a": one, "refit_b": other}
                        for name, number in (
                            *(("raw", raw), ("shuffled", NULL), ("excess", raw - NULL)),
                            ("z_cka_of_layer", 0.4 + noise * rng.normal()),
                        ):
                            out["pairs"].append({**pair, "measure": name, "stability": number})
                        cka = {"stream": "resid_mid", "kernel": "linear", "estimator": "debiased"}
                        out["residual"].append({**pair, **cka, "cka": 0.7 + noise * rng.normal()})
                    for other in names:
                        if other != one:
                            key = {**here, "anchor": one, "refit": other}
                            out["matches"] += [
                                {**key, "head": h, "raw": h / 10, "shuffled": NULL}
                                for h in range(1, 5)
                            ]
            for name in names:
                text = {"text": "held_out", "perplexity": 20 * (1 + 1e-4 * rng.normal())}
                out["perplexity"].append({**label, "refit": name, **text})
    return {name: pd.DataFrame(rows) for name, rows in out.items()}, names


def study_of(crossed=False, change=None, **how):
    tables, names = measured(**how)
    if change:
        change(tables)
    conditions = claims.claim_conditions(tables, SHAPES, names, "zero")
    return claims.claims_table(conditions, DELTAS, crossed, PUBLISHED), conditions


def whole(table, claim, measure, scope="condition", **labels):
    rows = table[(table["claim"] == claim) & (table["measure"] == measure)]
    rows = rows[(rows["scope"] == scope) & (rows["part"] == "all parts")]
    for name, value in labels.items():
        rows = rows[rows[name] == value]
    return rows


def test_claims_that_hold_are_supported():
    table, _ = study_of()
    for measure in ("raw", "excess"):
        for claim, count in ((1, 2), (2, 2), (3, 4), (4, 2)):
            rows = whole(table, claim, measure)
            rows = rows[rows["reason"].fillna("") == ""]
            assert set(rows["verdict"]) == {"supported"}, (claim, measure)
            assert len(rows) == count
    assert set(whole(table, 5, "cka")["verdict"]) == {"supported"}
    short = whole(table, 1, "raw", architecture="shallow")
    assert set(short["verdict"]) == {"inconclusive"}
    assert short["reason"].str.startswith("2 layers").all()
    # One condition's p is never larger than what Holm makes of it.
    tests = table[(table["part"] == "all parts") & table["p_holm"].notna()]
    assert (tests["p_holm"] >= tests["p"]).all()


def test_estimates_are_what_was_planted():
    table, _ = study_of(noise=0.0)
    rows = table[(table["scope"] == "condition") & (table["measure"] == "raw")]
    value = rows.set_index(["part", "architecture", "weight_decay"])["estimate"]
    assert value["S_early - S_mid", "deep", "0"] == pytest.approx(0.4)
    assert value["D_mid - D_late", "deep", "0"] == pytest.approx(0.2)
    depth = value["S_mid(shallow) - S_mid(deep)", "shallow, deep", "0.1"]
    assert depth == pytest.approx(0.3)
    assert value["-mean tau of the deep half", "deep", "0"] == pytest.approx(1)
    assert value["S(wd) - S(0)", "deep", "0.1"] == pytest.approx(0.1)


def test_pooled_needs_four_conditions():
    table, conditions = study_of()
    pooled = table[(table["scope"] == "pooled") & (table["measure"] == "raw")]
    by_claim = pooled[pooled["part"] == "all parts"].set_index("claim")
    assert by_claim["conditions"].to_dict() == {1: 2, 2: 2, 3: 4, 4: 2}
    assert by_claim.loc[1, "verdict"] == "inconclusive"
    assert by_claim.loc[1, "reason"] == "2 conditions: a verdict needs at least 4"
    assert by_claim.loc[3, "verdict"] == "supported"
    part = pooled[pooled["part"] == "-slope of tau on depth"].iloc[0]
    single = table[(table["scope"] == "condition") & (table["measure"] == "raw")]
    each = single[single["part"] == "-slope of tau on depth"]["estimate"].astype(float)
    assert part["estimate"] == pytest.approx(each.mean())
    assert len(conditions) == len(each) == 4


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"refits": 2}, "2 refits: a verdict needs at least 4"),
        ({"refits": 3}, "3 refits: a verdict needs at least 4"),
        ({"crossed": True}, claims.CROSSED),
    ],
)
def test_what_gives_no_verdict(how, reason):
    table, _ = study_of(**how)
    verdicts = table[table["scope"] != "described"]["verdict"]
    assert set(verdicts) == {"inconclusive"}
    rows = whole(table, 4, "raw", architecture="deep")
    assert rows["reason"].tolist() == [reason]
    assert whole(table, 3, "excess", "pooled")["reason"].tolist() == [reason]
    if how.get("crossed"):
        assert table[table["scope"] == "condition"][["low", "high", "p"]].isna().all(axis=None)


def test_one_weight_decay_and_one_depth_are_said():
    table, _ = study_of(decays=("0",))
    assert whole(table, 4, "raw")["reason"].tolist() == ["weight_decays holds none that is above 0"]
    tables, names = measured()
    shapes = {**SHAPES, "shallow": {**SHAPES["shallow"], "d_model": 8}}
    conditions = claims.claim_conditions(tables, shapes, names, "zero")
    table = claims.claims_table(conditions, DELTAS, False, PUBLISHED)
    reason = "no two architectures differ in layers alone (heads, d_model and mlp equal)"
    assert set(whole(table, 2, "raw")["reason"]) == {reason}


def test_an_undefined_null_leaves_the_excess_inconclusive():
    def one_prompt(tables):
        pairs, matches = tables["pairs"], tables["matches"]
        pairs.loc[pairs["measure"].isin(["shuffled", "excess"]), "stability"] = np.nan
        matches["shuffled"] = np.nan

    table, _ = study_of(change=one_prompt)
    for claim in (1, 2, 3, 4):
        assert set(whole(table, claim, "excess")["verdict"]) == {"inconclusive"}
    rows = whole(table, 4, "excess")
    assert set(rows["reason"]) == {"not defined: too few prompts, or nothing varies"}
    assert set(whole(table, 4, "raw")["verdict"]) == {"supported"}


def test_what_is_not_measured_is_said():
    def without_stream(tables):
        tables["residual"]["stream"] = "resid_pre"

    table, _ = study_of(change=without_stream)
    assert set(whole(table, 5, "cka")["reason"]) == {
        "resid_mid is not kept: add it to residual.streams"
    }


def test_opposite_effects_are_not_supported():
    def reversed_ablation(tables):
        tables["ablation"]["delta_loss"] *= -1

    table, _ = study_of(change=reversed_ablation)
    assert set(whole(table, 3, "raw")["verdict"]) == {"not supported"}


def test_the_margin_of_perplexity_decides():
    def costly(tables):
        rows = tables["perplexity"]["weight_decay"] == "0.1"
        tables["perplexity"].loc[rows, "perplexity"] *= 1.05

    table, _ = study_of(change=costly)
    assert set(whole(table, 4, "raw")["verdict"]) == {"not supported"}
    part = table[table["part"] == "log 1.01 - log perplexity ratio"]
    alone = part[part["scope"] == "condition"]["estimate"].astype(float)
    assert np.allclose(alone, np.log(1.01) - np.log(1.05), atol=2e-4)


def test_published_values_stand_beside_alike_conditions_only():
    table, _ = study_of()
    shown = table[table["scope"] == "described"]
    assert shown["published"].isna().all(), "the paper has no model of 4 heads"
    tables, names = measured()
    shapes = {name: {**shape, "heads": 8} for name, shape in SHAPES.items()}
    conditions = claims.claim_conditions(tables, shapes, names, "zero")
    table = claims.claims_table(conditions, DELTAS, False, PUBLISHED)
    shown = table[(table["scope"] == "described") & (table["architecture"] == "deep")]
    least = shown[(shown["claim"] == 2) & (shown["weight_decay"] == "0.1")].iloc[0]
    assert (least["published"], least["published_condition"]) == (0.816417, "l4_h8_wd")
    gain = shown[shown["claim"] == 4].iloc[0]
    assert gain["published"] == pytest.approx(0.816417 - 0.808852)
    depth = shown[shown["claim"] == 1].iloc[0]
    assert depth["published"] == pytest.approx(2.5 / 4)


def test_matrices_of_pairs_and_heads():
    pairs = pd.DataFrame([("b", "a", 1, 0.5), ("a", "c", 1, 0.25), ("b", "c", 1, 0.75)])
    pairs.columns = ["refit_a", "refit_b", "layer", "x"]
    (found,) = replicates.pair_matrices(pairs, "x", ["a", "b", "c"])
    nan = np.nan
    expected = [[nan, 0.5, 0.25], [0.5, nan, 0.75], [0.25, 0.75, nan]]
    assert np.array_equal(found, expected, equal_nan=True)
    heads = pd.DataFrame({"layer": [1, 2], "head": [2, 1], "refit": ["b", "a"], "x": [3.0, 4.0]})
    found = replicates.head_matrices(heads, ["refit"], "x", ["a", "b"])
    assert found.shape == (2, 2, 2)
    assert found[0, 1, 1] == 3
    assert found[1, 0, 0] == 4
    assert np.isnan(found).sum() == 6


# --- what people see ----------------------------------------------------------------------

STUDY = {"name": "demo", "prompts": "p", "text": "p", "method": "zero", "refits": 4}
STUDY["margin"] = 0.01
NOT_DEAD = pd.DataFrame(
    {"architecture": ["deep"], "weight_decay": ["0.1"], "layer": [2], "dead": [False]}
)


def test_the_page_says_verdicts_numbers_and_reasons():
    table, _ = study_of()
    page = claims_report(table, NOT_DEAD, STUDY)
    lines = page.splitlines()
    assert [line for line in lines if line.startswith("## ")] == [
        *(f"## {number}. {title}" for number, title in enumerate(TITLES, start=1)),
        "## Dead heads",
    ]
    assert "No layer is flagged." in page
    rows = table[(table["part"] == "S_early - S_mid") & (table["scope"] == "condition")]
    row = rows[(rows["measure"] == "raw") & (rows["weight_decay"] == "0")].iloc[0]
    text = f"S_early - S_mid = {row['estimate']:.3g} [{row['low']:.3g}, {row['high']:.3g}]"
    assert f"{text}, delta 0.02: supported" in page
    assert any(line.startswith("- deep, wd 0: **supported**, p ") for line in lines)
    assert "**inconclusive** (2 layers: early, middle and late need at least 4)." in page
    assert "may rise by less than 1 %" in page
    assert "nan" not in page
    flagged = claims_report(table, NOT_DEAD.assign(dead=True), STUDY)
    assert "- deep, wd 0.1, layer 2: its stability is no sign" in flagged
    unknown = claims_report(table, NOT_DEAD.assign(dead=np.nan), STUDY)
    assert "Not known where the study has no weight decay 0" in unknown


TITLES = [
    "Middle layers are the least stable and the most distinct",
    "Deeper models are less stable at mid depth",
    "Unstable heads of deep layers matter more than their peers of the same layer",
    "Weight decay raises head stability, at no cost in perplexity",
    "The residual stream is more stable than the heads",
]


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
        if line.get_marker() in ("o", "X")
    ]
    assert sorted(drawn) == sorted(parts["estimate"].dropna().astype(float))
    titles = {axes.get_title() for axes in figure.axes}
    assert {title.split(":")[0] for title in titles if title} == {f"claim {n}" for n in range(1, 6)}


def test_the_margin_is_a_parameter():
    tables, names = measured(noise=0.0)
    one, two = claims.claim_conditions(tables, SHAPES, names, "zero")[:2]
    stability = (two.stability["raw"], one.stability["raw"])
    costs = (two.perplexity * 1.03, one.perplexity)
    parts = {
        margin: statistics.weight_decay_stabilises(*stability, *costs, 0.02, margin)[1]
        for margin in (0.01, 0.1)
    }
    assert [str(part.verdict()) for part in parts.values()] == ["not supported", "supported"]
    assert parts[0.1].name == "log 1.1 - log perplexity ratio"
