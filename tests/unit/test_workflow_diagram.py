"""The diagram of the workflow shows what reads what; test_graph compares it with Snakemake."""

from hypothesis import given
from hypothesis import strategies as st
from write_docs import diagram, read_rulegraph, without_detours

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


def test_the_diagram_has_every_rule_but_all_and_no_detour():
    assert diagram(GRAPH) == "flowchart LR\n    train --> heads_table\n"
