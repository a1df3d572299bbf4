"""The picture of the workflow shows what reads what; test_graph compares it with Snakemake."""

import re

from hypothesis import given
from hypothesis import strategies as st

from headstability.workflow_picture import read_rulegraph, without_detours, workflow_picture

GRAPH = """digraph snakemake_dag {
    node[shape=box];
	0[label = "all", color = "0.5 0.6 0.85", style="rounded"];
	1[label = "heads_table", color = "0.1 0.6 0.85", style="rounded"];
	2[label = "train", color = "0.1 0.6 0.85", style="rounded"];
	1 -> 0
	2 -> 1
	2 -> 0
}
"""


def test_the_graph_is_read():
    edges = {("heads_table", "all"), ("train", "heads_table"), ("train", "all")}
    assert read_rulegraph(GRAPH) == edges


def reachable(edges):
    found = set(edges)
    while more := {(a, d) for a, b in found for c, d in edges if b == c} - found:
        found |= more
    return found


# From lower to higher numbers: no circles.
GRAPHS = st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda e: e[0] < e[1]))


@given(GRAPHS)
def test_no_way_is_lost_and_no_detour_is_left(pairs):
    edges = {(str(a), str(b)) for a, b in pairs}
    kept = without_detours(edges)
    assert reachable(kept) == reachable(edges)
    for edge in kept:
        assert edge not in reachable(kept - {edge})


def test_every_rule_has_a_place_of_its_own():
    stages = {"tokens": "corpus", "train": "cells", "one": "conditions", "two": "conditions"}
    stages |= {"a_table": "tables", "b_table": "tables", "a": "figures", "b": "figures"}
    edges = [("tokens", "train"), ("train", "one"), ("one", "two"), ("two", "a_table")]
    edges += [("one", "b_table"), ("a_table", "a"), ("b_table", "b"), ("a_table", "left_out")]
    text = workflow_picture(edges, stages)
    boxes = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="\d+" height="\d+" rx', text)
    assert len(set(boxes)) == len(stages)
    assert text.count("<path") == len(edges) - 1
    assert "left_out" not in text
    x = {rule: float(re.search(rf'x="([\d.]+)"[^>]*>{rule}<', text)[1]) for rule in stages}
    assert x["tokens"] == x["train"] < x["one"] < x["two"] < x["a_table"] < x["a"] == x["b"]
