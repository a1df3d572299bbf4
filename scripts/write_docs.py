"""Write the pages under docs/ that are made from the code: `make docs`."""

import subprocess
import sys
from pathlib import Path

import yaml

from headstability.config_reference import config_reference
from headstability.files import atomic_path
from headstability.kinds import KINDS
from headstability.study import Study
from headstability.workflow_picture import read_rulegraph, workflow_picture

ROOT = Path(__file__).resolve().parents[1]
# Of the study and the targets whose rules are drawn.
STUDY = ROOT / "studies/smoke.yaml"
TARGETS = ("all", "published")


def rulegraph() -> str:
    """What Snakemake says of the rules and what they read."""
    command = [sys.executable, "-m", "snakemake", *TARGETS, "--rulegraph", "--configfile", STUDY]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def picture(graph: str) -> str:
    """The workflow as an SVG, from what Snakemake says."""
    study = Study(yaml.safe_load(STUDY.read_text(encoding="utf-8")))
    files = {rule: Path(kind.outputs(study)[0]) for rule, kind in KINDS.items()}
    stages = {rule: path.relative_to(study.paths.root).parts[0] for rule, path in files.items()}
    return workflow_picture(read_rulegraph(graph), stages)


def main() -> None:
    """Write each page."""
    pages = {
        "docs/config-reference.md": config_reference(),
        "docs/figures/workflow.svg": picture(rulegraph()),
    }
    for name, text in pages.items():
        with atomic_path(ROOT / name) as path:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
