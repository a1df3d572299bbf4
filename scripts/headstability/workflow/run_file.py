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
from collections.abc import Mapping, Sequence
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
# Asks it to write one job there instead: that of this file, rule or short name.
JOB = "HEADSTABILITY_JOB"


def hand_over(config: Mapping[str, Any], plan: Plan) -> None:
    """Write what jobs of this process need, under a name that follows from the content.

    Args:
        config: the merged config. Its order counts: tables follow it.
        plan: the jobs of the study.
    """
    content = {"config": json.dumps(config), "plan": plan.as_json()}
    path = FOLDER.absolute() / f"{json_sha256(content)[:16]}.json"
    if not path.exists():
        write_json(path, content)
    os.environ[RUN] = str(path)


def handed_over() -> tuple[dict[str, Any], Plan] | None:
    """Config and plan of the run this process is a job of, if it handed any over.

    Raises:
        UserError: the file it left is gone or damaged.
    """
    path = os.environ.get(RUN)
    if path is None:
        return None
    content = read_json(path)
    return json.loads(content["config"]), Plan.of_json(content["plan"])


def share_library(scripts: Path) -> None:
    """Let jobs import the library: their scripts lie in folders below it."""
    given = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(scripts), given]))


def _ask(
    config: str | Path | None, arguments: Sequence[str], **environment: str
) -> tuple[dict[str, Any], str]:
    """What Snakemake writes if it is asked to, and what it prints."""
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
    """The plan of a study as Snakemake has it, without running anything.

    Args:
        config: the config file of the study; None: config.yaml.
        arguments: of Snakemake; the default lists its rules.

    Returns:
        The plan, and what Snakemake printed.

    Raises:
        UserError: what Snakemake says is wrong.
    """
    content, printed = _ask(config, arguments or ("--list-rules",))
    return Plan.of_json(content), printed


def job_of(config: str | Path | None, target: str) -> dict[str, Any]:
    """One job of a study, as `Parameters.of_one` describes it.

    Args:
        config: the config file of the study; None: config.yaml.
        target: a file, or a rule or short name: the first of its jobs.

    Raises:
        UserError: there is no such job, or what Snakemake says is wrong.
    """
    return _ask(config, ("--list-rules",), **{JOB: target})[0]
