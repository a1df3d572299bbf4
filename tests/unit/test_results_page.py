"""docs/results.md lists every file that rules write, and explains every column it names."""

import re
from pathlib import Path

from results_page import listed, quoted, section

from headstability.registry.rows import TABLES
from headstability.study.paths import Paths

CAPTIONS = Path(__file__).resolve().parents[2] / "docs/captions/tables"


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
    patterns |= {paths.table_of(path) for path in TABLES.values()}
    patterns |= set(paths.figure_files("{figure}").values())
    wanted = {p.removeprefix(inside).replace("{", "<").replace("}", ">") for p in patterns}
    on_request = {"tables/published.csv"}
    beside = {".<file>.sha256", "<file>.damaged"}
    assert wanted | on_request | beside == set(listed())


def in_caption(file):
    """Columns that the caption of a table explains."""
    caption = CAPTIONS / f"{Path(file).relative_to('tables').parts[0].removesuffix('.csv')}.rst"
    return set(re.findall(r"``(\w+)``", caption.read_text()))


def test_every_column_is_explained():
    tables = {file: quoted(text) for file, text in listed().items() if Path(file).suffix == ".csv"}
    named = {name for columns in tables.values() for name in columns}
    known = set(explained()) - {"even_...", "..._without_bos"}
    unexplained = {
        name
        for file, columns in tables.items()
        for name in set(columns) - known
        if not (file.startswith("tables/") and name in in_caption(file))
    }
    assert {
        name
        for name in unexplained
        if not (name.startswith("even_") or name.endswith("_without_bos"))
    } == set()
    assert known <= named
