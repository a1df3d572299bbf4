"""Plans of configs: the jobs of a study, as Snakemake has them once it has read the rules."""

import json
import sys
import tempfile
from functools import cache
from pathlib import Path

sys.path.append(str(Path(__file__).with_name("workflow")))

from driver import environment
from planner import Planner

from headstability.errors import UserError
from headstability.storage.files import read_json
from headstability.workflow.graph import Plan
from headstability.workflow.run_file import PLAN

SNAKEFILE = Path(__file__).resolve().parents[1] / "Snakefile"
# What configs of tests name of the user's.
USER_FILES = {
    "a.txt": "one\n\ntwo\n",
    "b.txt": "three\n",
    "mine.txt": "a prompt\n",
    "prompts.txt": "a prompt\n",
    "saved.json": "{}",
}


def plan_of_config(config, folder=None, *arguments):
    """The plan of a study, without running anything.

    Args:
        config: of the study.
        folder: in which Snakemake is started; None: one that holds USER_FILES. Plans of the
            latter are asked for once.
        arguments: of Snakemake; the default lists its rules.

    Raises:
        UserError: what Snakemake says is wrong.
    """
    text = json.dumps(config)
    if folder is None:
        return _kept_plan(text, arguments)
    return _plan(text, folder, arguments)


@cache
def _planner():
    return Planner()


@cache
def _folder():
    """A folder with the files of users; it goes when the process ends."""
    made = tempfile.TemporaryDirectory()
    for name, text in USER_FILES.items():
        Path(made.name, name).write_text(text)
    return made


@cache
def _kept_plan(config, arguments):
    return _plan(config, _folder().name, arguments)


def _plan(config, folder, arguments):
    with tempfile.TemporaryDirectory() as aside:
        written, path = Path(aside, "config.yaml"), Path(aside, "plan.json")
        written.write_text(config)  # JSON is YAML
        command = [*(arguments or ("--list-rules",)), "--snakefile", SNAKEFILE]
        status, output = _planner().run(
            folder, [*command, "--configfile", written], environment() | {PLAN: str(path)}
        )
        content = read_json(path) if path.exists() else {"error": output}
        if status or "error" in content:
            raise UserError(content.get("error", output))
        return Plan.of_json(content)
