"""Write pages, and parts of pages, that are made from the code: `make docs`."""

import re
import subprocess
import sys
from collections.abc import Iterable
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
    """Every figure with its short target and what is beside it, as a table of Markdown."""
    lines = ["| figure | short target | beside it | time from finished tables |"]
    lines.append("|---|---|---|---|")
    for row in (row for row in ROWS if row.draw):
        figure = _quoted([_shown(f"figures/{row.path}.{{pdf,png}}")])
        beside = [
            getattr(PATHS, name) if columns is None else PATHS.table_of(name + row.per)
            for name, columns in row.columns.items()
        ]
        cells = [
            f"{figure}, {row.only}" if row.only else figure,
            f"`{row.name}`{' (all)' if row.per else ''}",
            _quoted(_shown(path.removeprefix(f"{PATHS.root}/")) for path in beside),
            f"{row.seconds} s{' each' if row.per else ''}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def tables() -> str:
    """Every table with its columns, as a table of Markdown."""
    lines = ["| file | columns |", "|---|---|"]
    for row in ROWS:
        asked = "on request: " if row.on_request else ""
        for name, columns in row.columns.items():
            if columns is not None:
                file, listed = _shown(f"`{name}{row.per}.csv`"), _quoted(columns.split())
                lines.append(f"| {file} | {asked}{listed} |")
    return "\n".join([*lines, ""])


def families() -> str:
    """Every family of models that can be imported, as a table of Markdown."""
    lines = ["| `model_type` | family |", "|---|---|"]
    lines += [f"| `{kind}` | {family.name} |" for kind, family in FAMILIES.items()]
    return "\n".join([*lines, ""])


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
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in PAGES}
    page = (ROOT / "docs/workflow.md").read_text(encoding="utf-8")
    pages = {
        "docs/config-reference.md": config_reference(),
        "docs/workflow.md": DIAGRAM.sub(lambda _: diagram(rulegraph()), page),
        **{name: renewed(text) for name, text in texts.items()},
    }
    for name, text in pages.items():
        with atomic_path(ROOT / name) as path:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
