"""Write pages, and parts of pages, that are made from the code: `make docs`."""

import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from headstability.models.families import FAMILIES
from headstability.registry.rows import ROWS
from headstability.storage.files import atomic_path
from headstability.study.config_reference import config_reference
from headstability.study.paths import Paths

ROOT = Path(__file__).resolve().parents[1]
# Of the study and the targets whose rules are drawn.
STUDY = ROOT / "studies/smoke.yaml"
TARGETS = ("all", "published")
DIAGRAM = re.compile(r"(?<=^```mermaid\n).+?(?=^```)", re.MULTILINE | re.DOTALL)
# A part of a page that is written here, by its name.
PART = re.compile(
    r"(?<=^<!-- )(\w+)(: make docs -->\n).*?(?=^<!-- end -->$)", re.MULTILINE | re.DOTALL
)
PAGES = ("README.md", "docs/results.md", "docs/models.md")
PATHS = Paths("<study>")
Edge = tuple[str, str]


def rulegraph() -> str:
    """What Snakemake says of the rules and what they read."""
    command = [sys.executable, "-m", "snakemake", *TARGETS, "--rulegraph", "--configfile", STUDY]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def read_rulegraph(text: str) -> set[Edge]:
    """Pairs of a rule and one that reads from it, from what `snakemake --rulegraph` prints."""
    names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', text, re.MULTILINE))
    return {(names[a], names[b]) for a, b in re.findall(r"(\d+) -> (\d+)", text)}


def without_detours(edges: Iterable[Edge]) -> set[Edge]:
    """The edges whose ends no longer path connects."""
    edges = set(edges)
    after: dict[str, set[str]] = {}
    for one, other in edges:
        after.setdefault(one, set()).add(other)

    def reaches(start: str, end: str) -> bool:
        return any(n == end or reaches(n, end) for n in after.get(start, ()))

    return {(a, b) for a, b in edges if not any(reaches(n, b) for n in after[a] - {b})}


def diagram(graph: str) -> str:
    """The rules as a Mermaid flowchart, from what Snakemake says of them.

    Snakemake's own (--rulegraph mermaid-js) has an edge from every result to `all`, in an order
    that changes, and those that longer paths replace: twice as many lines, three times as wide.
    """
    edges = without_detours(edge for edge in read_rulegraph(graph) if "all" not in edge)
    return "".join(["flowchart LR\n", *(f"    {a} --> {b}\n" for a, b in sorted(edges))])


def figures() -> str:
    """Every figure with its short target and what is beside it."""
    cells = [("figure", "short target", "beside it", "time from finished tables")]
    for row in (row for row in ROWS if row.draw):
        figure = _quoted([_shown(f"figures/{row.path}.{{pdf,png}}")])
        beside = [
            getattr(PATHS, name) if columns is None else PATHS.table_of(name + row.per)
            for name, columns in row.columns.items()
        ]
        target, seconds = (" (all)", " each") if row.per else ("", "")
        beside = _quoted(_shown(path.removeprefix(f"{PATHS.root}/")) for path in beside)
        figure += f", {row.only}" if row.only else ""
        cells.append((figure, f"`{row.name}`{target}", beside, f"{row.seconds} s{seconds}"))
    return _table(cells)


def tables() -> str:
    """Every table with its columns."""
    cells = [("file", "columns")]
    for row in ROWS:
        asked = "on request: " if row.on_request else ""
        for name, columns in row.columns.items():
            if columns is not None:
                listed = asked + _quoted(columns.split())
                cells.append((_shown(f"`{name}{row.per}.csv`"), listed))
    return _table(cells)


def families() -> str:
    """Every family of models that can be imported."""
    rows = [(f"`{kind}`", family.name) for kind, family in FAMILIES.items()]
    return _table([("`model_type`", "family"), *rows])


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells, the head first, as a table of Markdown."""
    lines = [f"| {' | '.join(cells)} |\n" for cells in rows]
    return "".join([lines[0], "|---" * len(rows[0]), "|\n", *lines[1:]])


def _shown(pattern: str) -> str:
    """A pattern with its wildcards as pages show them."""
    return re.sub(r"\{(\w+)\}", r"<\1>", pattern)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


PARTS = {"figures": figures, "tables": tables, "families": families}


def renewed(page: str) -> str:
    """A page with all parts that are written here as they are now."""
    return PART.sub(lambda part: part[1] + part[2] + PARTS[part[1]](), page)


def main() -> None:
    """Write each page."""
    pages = {name: renewed((ROOT / name).read_text(encoding="utf-8")) for name in PAGES}
    pages["docs/config-reference.md"] = config_reference()
    page = (ROOT / "docs/workflow.md").read_text(encoding="utf-8")
    pages["docs/workflow.md"] = DIAGRAM.sub(lambda _: diagram(rulegraph()), page)
    for name, text in pages.items():
        with atomic_path(ROOT / name) as path:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
