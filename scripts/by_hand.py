"""Run the script of one job by hand: in a Python session, a notebook or a debugger.

from by_hand import main_of, mock_job

job = mock_job("commonness")    # or the path of any file of a study
main_of(job)(job)               # reads job.input, writes job.output
"""

import runpy
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from snakemake.iocontainers import Namedlist

from headstability.workflow.run_file import JOB, ask
from job import SCRIPTS, Job


def mock_job(target: str, configfile: str | Path | None = None) -> Job:
    """The job of a file, or the first of a rule or short name, as its script would get it.

    Call it in the folder of the repository; what the job reads must exist before its script is
    called. Raises UserError with what Snakemake says if there is no such job.
    """
    found, _ = ask(configfile, **{JOB: target})
    resources = found["resources"]
    return Job(
        SimpleNamespace(
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
    return runpy.run_path(str(SCRIPTS / job.script), {"snakemake": None})["main"]


def _named(items: Iterable[tuple[str | None, Any]]) -> Namedlist:
    """Values under their names, as scripts get them: lists become part of the whole."""
    found = Namedlist()
    for name, value in items:
        start = len(found)
        found += value if isinstance(value, list) else [value]
        if name is not None:
            found._set_name(name, start, len(found) if isinstance(value, list) else None)
    return found
