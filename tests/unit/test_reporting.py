"""Captions of the report, and where its figures and tables stand."""

import re
from pathlib import Path

import pytest
import yaml
from docutils.core import publish_parts
from jinja2 import Environment, StrictUndefined

from headstability.registry.rows import BY_NAME, FIGURES, ROWS
from headstability.workflow.report import ALL_CONDITIONS, place

ROOT = Path(__file__).resolve().parents[2]
CAPTIONS = ROOT / "docs" / "captions"
ONE_BY_ONE = {name for name, path in FIGURES.items() if path != name}
TABLE_NAMES = {name for row in ROWS for name in row.columns}
CAPTION_FILES = sorted(CAPTIONS.rglob("*.rst"))
ANSWERS = ["From which refits.", "How to read it.", "What would mislead."]


def rendered(path, config, wildcards=None):
    """A caption as Snakemake renders it; a mistake in it is an error."""
    template = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    text = template.from_string(path.read_text()).render(
        snakemake={"config": config, "wildcards": wildcards}
    )
    return publish_parts(text, writer="html", settings_overrides={"halt_level": 2})


def test_every_figure_and_table_has_a_caption_and_one_place():
    assert {path.stem for path in CAPTIONS.glob("*.rst")} == set(FIGURES) | {"study"}
    assert {path.stem for path in CAPTIONS.glob("tables/*.rst")} == TABLE_NAMES
    labels = [place(row, name)["labels"]["result"] for row in ROWS for name in row.columns]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("path", CAPTION_FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_caption_answers_four_questions(path):
    conditions = {"architecture": "deep", "weight_decay": "0.1"}
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    body = rendered(path, config, conditions)["body"]
    heads = re.findall(r"<p><strong>(.*?)</strong> (.*?)</p>", body, flags=re.DOTALL)
    if path.stem == "study":
        assert [ANSWERS[0], "How to read this report.", ANSWERS[2]] == [head for head, _ in heads]
    else:
        what = "What is listed." if path.parent.name == "tables" else "What is plotted."
        assert [what, *ANSWERS] == [head for head, _ in heads]
        assert body.count("<p>") == len(heads)
        assert ("0.1" in heads[0][1]) == (path.stem in ONE_BY_ONE)
    assert all(len(answer) > 20 for _, answer in heads)


REFITS = {
    "many": (5, "5 refits (seeds 1 to 5)"),
    "listed": ([3, 7], "the refits of the seeds 3, 7"),
    "crossed": (
        {"init_seeds": [1, 2], "data_seeds": [4, 5]},
        "a refit for every pair of the init seeds 1, 2 and the data seeds 4, 5",
    ),
    "default": (None, "as many refits as the titles of figures say"),
}


@pytest.mark.parametrize("how", REFITS)
def test_the_first_page_says_which_refits_there_are(how):
    refits, words = REFITS[how]
    config = {"study": "mine", "architectures": {"a": {}, "b": {}}}
    config |= {"refits": refits} if refits else {}
    # As in Snakemake, keys may be missing.
    text = Environment(trim_blocks=True, lstrip_blocks=True).from_string(
        (CAPTIONS / "study.rst").read_text()
    )
    said = " ".join(text.render(snakemake={"config": config}).split())
    assert f"it means {words}, of each architecture with each weight decay." in said
    assert "2 architectures (a, b), each several times" in said


def test_places():
    assert min(row.section for row in ROWS) == "1 Claims"
    assert place(BY_NAME["claims"], "claims") == {
        "category": "1 Claims",
        "subcategory": None,
        "labels": {"result": "The claims, part by part"},
    }
    assert place(BY_NAME["head_map"], "head_map", " (table)") == {
        "category": "2 Heads",
        "subcategory": "Head map of one anchor",
        "labels": {"result": "Head map of one anchor: {architecture}, wd {weight_decay} (table)"},
    }
    label = place(BY_NAME["meta_sne"], "meta_sne")["labels"]
    assert label == {"result": "Map of all heads: wd {weight_decay}"}
    groups = {name: place(BY_NAME[name], name)["subcategory"] for name in ("heads", "roles")}
    assert groups == dict.fromkeys(groups, ALL_CONDITIONS)
