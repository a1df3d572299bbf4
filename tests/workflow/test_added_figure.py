"""docs/add-a-figure.md, followed to the letter in a copy with a finished study."""

import re
import shutil

import pandas as pd
import pytest
from driver import ROOT, SMOKE, snakemake

PAGE = (ROOT / "docs/add-a-figure.md").read_text()
STEP = r"(New file|To the end of|To `([\w ]+)` in) `([^`]+)`:\n\n```\w+\n(.*?)```"


def added(source, name, text):
    """A module with `text` at the end of a dictionary that is a constant or has a key in one."""
    beginning = re.compile(rf'^( *)(?:{name}\b[^\n]*=|"{name}":) \{{$', re.MULTILINE)
    (begun,) = beginning.finditer(source)
    end = source.index(f"\n{begun[1]}}}", begun.end()) + 1
    return source[:end] + text + source[end:]


@pytest.fixture(scope="module")
def followed(smoke, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figure") / "repository"
    shutil.copytree(smoke, folder, symlinks=True)
    steps = re.findall(STEP, PAGE, re.DOTALL)
    assert len(steps) == PAGE.count("```") // 2 - 1, "all blocks but the command"
    for how, name, path, text in steps:
        file = folder / path
        assert file.exists() == (how != "New file"), path
        if how == "New file":
            file.write_text(text)
        elif how == "To the end of":
            file.write_text(file.read_text() + text)
        else:
            file.write_text(added(file.read_text(), name, text))
    (command,) = re.findall(r"```\nsnakemake (.*)\n```", PAGE)
    return folder, snakemake(folder, *command.split(), *SMOKE)


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
