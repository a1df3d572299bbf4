"""docs/results.md lists every file that rules write, and explains every column it names."""

import re
from pathlib import Path

from results_page import listed, quoted, section

from headstability.catalogue import TABLES
from headstability.paths import Paths


def explained():
    rows = re.findall(r"^\| (`[^|]*) \| ", section("What the columns hold"), re.MULTILINE)
    return [name for row in rows for name in quoted(row)]


def test_every_file_that_paths_builds_is_on_the_page():
    paths = Paths("x")
    inside = f"{paths.root}/"
    values = (getattr(paths, name) for name in dir(paths))
    patterns = {v for v in values if isinstance(v, str) and v.startswith(inside)}
    patterns.remove(paths.table)
    patterns.remove(paths.figure)
    patterns |= {paths.table_of(name) for name in TABLES}
    patterns |= set(paths.figure_files("{figure}").values())
    wanted = {p.removeprefix(inside).replace("{", "<").replace("}", ">") for p in patterns}
    on_request = {"tables/published.csv"}
    beside = {".<file>.sha256", "<file>.damaged"}
    assert wanted | on_request | beside == set(listed())


def test_every_column_is_explained():
    named = {
        name
        for file, text in listed().items()
        if Path(file).suffix == ".csv"
        for name in quoted(text)
    }
    known = set(explained()) - {"even_...", "..._without_bos"}
    assert {name for name in named if name not in known} == {
        name for name in named if name.startswith("even_") or name.endswith("_without_bos")
    }
    assert known <= named
