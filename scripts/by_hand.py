"""Run the script of one job by hand: in a Python session, a notebook or a debugger.

from by_hand import main_of, mock_job

job = mock_job("commonness")    # or the path of any file of a study
main_of(job)(job)               # reads job.input, writes job.output
"""

from collections.abc import Callable, Iterable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from snakemake.iocontainers import Namedlist

from headstability.workflow.run_file import job_of
from job import SCRIPTS, Job


def mock_job(target: str, configfile: str | Path | None = None) -> Job:
    """A job as its script would get it from Snakemake, whether it has run or not.

    Called in the folder of the repository. Nothing is run: what the job reads must be there before
    its script is called.

    Args:
        target: a file, or a rule or short name: the first of its jobs.
        configfile: of the study; None: config.yaml.

    Raises:
        UserError: there is no such job, or what Snakemake says is wrong.
    """
    found = job_of(configfile, target)
    resources = found["resources"]
    return Job(
        SimpleNamespace(
            rule=found["rule"],
            input=_named(found["input"]),
            output=_named(found["output"]),
            wildcards=_named(found["wildcards"].items()),
            resources=_named(resources.items()),
            threads=resources.get("_cores", 1),
            params=SimpleNamespace(spec=found["parameter"]),
        )
    )


def main_of(job: Job) -> Callable[[Job], None]:
    """The function `main` of a job's script, loaded anew: an edited script counts."""
    path = SCRIPTS / job.script
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = module_from_spec(spec)
    module.snakemake = None  # type: ignore[attr-defined]  # which Snakemake defines in scripts
    spec.loader.exec_module(module)
    return module.main


def _named(items: Iterable[tuple[str | None, Any]]) -> Namedlist:
    """Values under their names, as scripts get them: lists become part of the whole."""
    found = Namedlist()
    for name, value in items:
        start = len(found)
        found += value if isinstance(value, list) else [value]
        if name is not None:
            found._set_name(name, start, len(found) if isinstance(value, list) else None)
    return found
