"""What the rules read is what the registry of rules says they depend on."""

import re
from pathlib import Path

import pytest
import yaml
from driver import ROOT, SMOKE, snakemake

from headstability.jobs import undrawn_rules
from headstability.kinds import KINDS
from headstability.study import Study

CROSSED = """study: crossed
architectures: {one: {layers: 1, heads: 2, d_model: 16}}
refits: {init_seeds: [1, 2], data_seeds: [1, 2]}
training: {steps: 30, context: 32, checkpoint_steps: [0, 10]}
prompts: {passages: {type: held_out, count: 6, tokens: 20}}
time_course: {steps: [0, 10]}
"""


MIXED = """study: mixed
architectures:
  one: {layers: 1, heads: 2, d_model: 16}
  theirs:
    layers: 1
    heads: 2
    d_model: 16
    source: {type: huggingface, repo: "some/seed{seed}", revision: "step{step}"}
weight_decays: [0]
refits: 2
training: {steps: 30, context: 32}
prompts: {passages: {type: held_out, count: 6, tokens: 20}}
"""
STUDIES = {"smoke": Path(ROOT, SMOKE[1]).read_text(), "crossed": CROSSED, "mixed": MIXED}
TARGETS = ("all", "published", "export_transformerlens", "export_huggingface")


@pytest.mark.parametrize("name", STUDIES)
def test_the_registry_has_the_dependencies_of_the_rules(name, tmp_path):
    path = tmp_path / f"{name}.yaml"
    path.write_text(STUDIES[name])
    study = Study(yaml.safe_load(STUDIES[name]))
    absent = undrawn_rules(study) | {rule for rule in KINDS if not study.architectures_of(rule)}
    graph = snakemake(ROOT, *TARGETS, "--rulegraph", "--configfile", path)
    names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', graph, re.MULTILINE))
    pairs = {(names[b], names[a]) for a, b in re.findall(r"(\d+) -> (\d+)", graph)}
    read = {pair for pair in pairs if set(pair) <= set(KINDS)}
    registered = {(rule, other) for rule, kind in KINDS.items() for other in kind.upstream}
    # What is read of cells is read of imported ones, too.
    registered |= {(rule, "import_weights") for rule, other in registered if other == "train"}
    registered = {pair for pair in registered if not absent & set(pair)}
    assert registered <= read
    assert read <= reachable(registered)
    assert set(KINDS) - absent == {rule for pair in read for rule in pair}


def reachable(direct):
    """All pairs of a rule and one it depends on, whatever lies between."""
    found = set(direct)
    while more := {(a, d) for a, b in found for c, d in direct if b == c} - found:
        found |= more
    return found
