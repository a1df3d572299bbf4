"""docs/add-a-figure.md, followed to the letter in a copy with a finished study."""

import re
import shutil

import pandas as pd
import pytest
from driver import SMOKE, snakemake
from pages import commands, follow, page

PAGE = page("add-a-figure.md")


@pytest.fixture(scope="module")
def followed(smoke, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figure") / "repository"
    shutil.copytree(smoke, folder, symlinks=True)
    follow(PAGE, folder)
    command, *_ = commands(PAGE)
    return folder, snakemake(folder, *command.split()[1:], *SMOKE)


def test_the_figure_is_made_and_nothing_else(followed):
    folder, output = followed
    made = set(re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)", output, re.MULTILINE))
    assert made == {"spread_table", "spread"}
    for ending in ("pdf", "png"):
        assert (folder / f"results/smoke/figures/spread.{ending}").stat().st_size > 1000


def test_its_table_is_right(followed):
    tables = followed[0] / "results/smoke/tables"
    heads, spread = (pd.read_csv(tables / f"{name}.csv") for name in ("heads", "spread"))
    heads = heads[heads["method"] == "zero"]
    for row in spread.itertuples():
        here = (heads["architecture"] == row.architecture) & (heads["layer"] == row.layer)
        here &= heads["weight_decay"] == row.weight_decay
        by_refit = [part["stability"].std() for _, part in heads[here].groupby("refit")]
        assert row.spread == pytest.approx(sum(by_refit) / len(by_refit), abs=1e-9)
    assert len(spread) == 6
