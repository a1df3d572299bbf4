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


def picture() -> str:
    """The workflow of the default study."""
    command = [sys.executable, "-m", "snakemake", "--rulegraph", "--quiet", "all"]
    graph = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    study = Study(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")))
    files = {rule: kind.outputs(study)[0] for rule, kind in KINDS.items()}
    stages = {
        rule: Path(file).relative_to(study.paths.root).parts[0] for rule, file in files.items()
    }
    return workflow_picture(read_rulegraph(graph), stages)


def pages() -> dict[str, str]:
    """Texts by the path of their file."""
    return {
        "docs/config-reference.md": config_reference(),
        "docs/figures/workflow.svg": picture(),
    }


if __name__ == "__main__":
    for name, text in pages().items():
        with atomic_path(ROOT / name) as path:
            path.write_text(text, encoding="utf-8")
