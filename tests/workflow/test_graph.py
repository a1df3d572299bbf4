"""What the rules read is what the registry of rules says they depend on."""

import re

from driver import ROOT, SMOKE, snakemake

from headstability.kinds import KINDS


def test_the_registry_has_the_dependencies_of_the_rules():
    graph = snakemake(ROOT, "all", "--rulegraph", *SMOKE)
    names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', graph, re.MULTILINE))
    pairs = {(names[b], names[a]) for a, b in re.findall(r"(\d+) -> (\d+)", graph)}
    read = {pair for pair in pairs if set(pair) <= set(KINDS)}
    registered = {(rule, other) for rule, kind in KINDS.items() for other in kind.upstream}
    assert registered <= read
    assert read <= reachable(registered)
    assert set(KINDS) == {rule for pair in read for rule in pair}


def reachable(direct):
    """All pairs of a rule and one it depends on, whatever lies between."""
    found = set(direct)
    while more := {(a, d) for a, b in found for c, d in direct if b == c} - found:
        found |= more
    return found
