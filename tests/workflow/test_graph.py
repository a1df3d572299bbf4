"""The graph of jobs: the snapshot that was reviewed, Snakemake's own, the diagram in the docs."""

import re

import pytest
import write_docs
from driver import ROOT
from write_graph import SNAPSHOT, STUDIES, edges, jobs_of, plan_of, snapshot


@pytest.fixture(scope="module")
def planned():
    """What Snakemake prints of the rules of every study, and the plan it has of it."""
    return {name: plan_of(name) for name in STUDIES}


def test_the_graph_is_the_one_that_was_reviewed(planned):
    now = snapshot({name: plan for name, (_, plan) in planned.items()})
    assert now.splitlines() == SNAPSHOT.read_text().splitlines(), (
        "the graph has changed: make docs rewrites the snapshot; review the diff of "
        "tests/workflow/graph.txt: each of its lines must be meant"
    )


@pytest.mark.parametrize("name", STUDIES)
def test_the_plan_has_the_dependencies_that_snakemake_has(planned, name):
    printed, plan = planned[name]
    rules = {job.rule for job in jobs_of(plan)}
    read = write_docs.read_rulegraph(printed)
    assert edges(plan) == {pair for pair in read if set(pair) <= rules}
    assert rules <= {rule for pair in read for rule in pair}


def test_the_diagram_in_the_docs_is_that_of_the_rules():
    shown = write_docs.DIAGRAM.search((ROOT / "docs/workflow.md").read_text())[0]
    assert write_docs.diagram(write_docs.rulegraph()) == shown, "the page is out of date: make docs"
    assert {"train", "adjust", "claims", "draw_head_atlas"} <= set(re.findall(r"\w+", shown))
