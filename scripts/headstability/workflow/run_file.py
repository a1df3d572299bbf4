"""What a run hands to its jobs and to whoever looks at it from outside.

On other nodes Snakemake reads rules and config again for every job. It must see those the run
started with: the run records its jobs with them, and a config edited in the meantime would train
models that are recorded as made from the former one.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..storage.files import json_sha256, read_json, write_json
from .graph import Plan

FOLDER = Path(".snakemake", "headstability")
_SNAKEFILE = Path(__file__).resolve().parents[3] / "Snakefile"
# Jobs inherit the path of the file their run wrote.
RUN = "HEADSTABILITY_RUN"
# Asks Snakemake to write the plan of the study to this path when it ends.
PLAN = "HEADSTABILITY_PLAN"
# Asks it to write one job there instead: the one of this file, or the first of this rule or name.
JOB = "HEADSTABILITY_JOB"


def hand_over(config: Mapping[str, Any], plan: Plan) -> None:
    """Write what jobs of this process need, under a name that follows from the content."""
    # As a text, the config keeps its order, which tables follow.
    content = {"config": json.dumps(config), "plan": asdict(plan)}
    path = FOLDER.absolute() / f"{json_sha256(content)[:16]}.json"
    if not path.exists():
        write_json(path, content)
    os.environ[RUN] = str(path)


def handed_over() -> tuple[dict[str, Any], Plan] | None:
    """Config and plan of the run of this job; raises UserError if their file is damaged."""
    if (path := os.environ.get(RUN)) is None:
        return None
    content = read_json(path)
    return json.loads(content["config"]), Plan.of_json(content["plan"])


def share_library(scripts: Path) -> None:
    """Let jobs import the library: their scripts lie in folders below it."""
    given = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(scripts), given]))


def ask(
    config: str | Path | None, *arguments: str, **environment: str
) -> tuple[dict[str, Any], str]:
    """What Snakemake writes if it is asked to, and what it prints, without running anything.

    `config` is the file of the study, None the default one. Without `arguments` of Snakemake it
    lists its rules; with JOB in `environment` it writes that job, as `Parameters.of_one` has it.
    Raises UserError with what Snakemake says is wrong.
    """
    arguments = arguments or ("--list-rules",)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "plan.json")
        command = [sys.executable, "-m", "snakemake", *arguments, "--snakefile", str(_SNAKEFILE)]
        command += ["--configfile", str(config)] if config else []
        told = {**os.environ, **environment, PLAN: str(path)}
        done = subprocess.run(command, env=told, capture_output=True, text=True, check=False)
        content = read_json(path) if path.exists() else {"error": done.stderr.strip()}
        if done.returncode or "error" in content:
            raise UserError(content.get("error", done.stderr.strip()))
        return content, done.stdout


def plan_of(config: str | Path | None, *arguments: str) -> tuple[Plan, str]:
    """The plan of a study, and what Snakemake printed (`ask`)."""
    content, printed = ask(config, *arguments)
    return Plan.of_json(content), printed
