"""A few odd configs through Snakemake itself: one message and no traceback, or a plan."""

import pytest
from driver import ROOT, copy_repository, snakemake

SMOKE = (ROOT / "studies" / "smoke.yaml").read_text()
# (what smoke.yaml becomes, what Snakemake says)
CONFIGS = {
    "a key twice": (SMOKE + "refits: 3\n", "refits: stands twice"),
    "no study": (SMOKE.replace("study: smoke", "sudy: smoke"), "study: missing; add it"),
    "no for a name": (SMOKE.replace("study: smoke", "study: no"), "give text, in quotes"),
    "an alias of itself": (SMOKE + "roles: &r {tokens: *r}\n", "write the value out"),
    "a date": (SMOKE.replace("study: smoke", "study: 2026-13-45"), "would be a date and is none"),
    "too many cells": (SMOKE.replace("refits: 2", "refits: 90000"), "at most 20000 can be planned"),
    "octal": (SMOKE.replace("refits: 2", "refits: 003"), "This was a dry-run"),
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return copy_repository(tmp_path_factory.mktemp("odd") / "repository")


@pytest.mark.parametrize("name", CONFIGS)
def test_odd_configs(name, repository):
    text, message = CONFIGS[name]
    (repository / "config.yaml").write_text(text)
    output = snakemake(repository, "-n", "-q", "all", ok=name == "octal")
    assert message in output
    assert "Traceback" not in output
    assert not (repository / "results" / "smoke").exists()
