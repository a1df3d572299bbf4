"""docs/add-a-rule.md, followed to the letter in a copy with a finished study."""

import re
import shutil

import pandas as pd
import pytest
from driver import SMOKE, snakemake
from pages import commands, follow, page

PAGE = page("add-a-rule.md")
FOLDER = "results/smoke/conditions/two/wd0.1/step30/stability/passages"


@pytest.fixture(scope="module")
def followed(smoke, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rule") / "repository"
    shutil.copytree(smoke, folder, symlinks=True)
    follow(PAGE, folder)
    ((_, target, *arguments),) = (command.split() for command in commands(PAGE))
    assert target.startswith("results/default/conditions/")
    assert target.endswith(f"/{FOLDER.split('/', 6)[6]}/mutual.csv".replace("step30", "step700"))
    return folder, snakemake(folder, f"{FOLDER}/mutual.csv", *arguments, *SMOKE)


def test_the_file_is_made_and_nothing_else(followed):
    made = re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)", followed[1], re.MULTILINE)
    assert made == ["mutual"]


def test_it_is_right(followed):
    matches, mutual = (
        pd.read_csv(followed[0] / FOLDER / f"{n}.csv") for n in ("matches", "mutual")
    )
    found = {(r.anchor, r.refit, r.layer, r.head): r.match for r in matches.itertuples()}
    for row in mutual.itertuples():
        there = {key[3]: m for key, m in found.items() if key[:3] == row[1:4]}
        back = [found[row.refit, row.anchor, row.layer, match] == h for h, match in there.items()]
        assert row.proportion == pytest.approx(sum(back) / len(back), abs=1e-9)
    assert len(mutual) == 2 * 2  # ordered pairs of two refits, layers
