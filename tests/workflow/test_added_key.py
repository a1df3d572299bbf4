"""docs/add-a-key.md, followed to the letter in a copy with a finished study."""

import re
import shutil

import pytest
from driver import SMOKE, jobs, snakemake
from pages import follow, page, python

FIGURE = "results/smoke/figures/layer_stability.png"


@pytest.fixture(scope="module")
def followed(smoke, tmp_path_factory):
    folder = tmp_path_factory.mktemp("key") / "repository"
    shutil.copytree(smoke, folder, symlinks=True)
    before = (folder / FIGURE).read_bytes()
    follow(page("add-a-key.md"), folder)
    return folder, before, snakemake(folder, "--cores", "2", *SMOKE)


def made(output):
    return re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)", output, re.MULTILINE)


def test_its_default_changes_nothing_that_is_seen(followed):
    folder, before, output = followed
    assert set(made(output)) - {"all"} == {"layer_stability"}
    assert (folder / FIGURE).read_bytes() == before


def test_an_edit_redraws_the_figure_that_uses_it(followed):
    folder, before, _ = followed
    study = folder / SMOKE[1]
    study.write_text(study.read_text() + "figures: {whole_range: true}\n")
    said = python(folder, "scripts/why.py", "layer_stability", *SMOKE)
    assert "figures.whole_range" in said
    assert made(snakemake(folder, "layer_stability", "--cores", "2", *SMOKE)) == ["layer_stability"]
    assert (folder / FIGURE).read_bytes() != before
    assert jobs(folder, "layer_stability", *SMOKE) == []


def test_a_wrong_value_is_refused_by_name(followed):
    folder = followed[0]
    (folder / "wrong.yaml").write_text(
        (folder / SMOKE[1]).read_text().replace("whole_range: true", "whole_range: 1")
    )
    output = snakemake(folder, "layer_stability", "-n", "--configfile", "wrong.yaml", ok=False)
    assert "figures.whole_range" in output
