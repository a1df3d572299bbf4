"""How far a study is, from its files and Snakemake's records of its jobs.

Nothing is written: this works beside a run, after one, and from another machine.
"""

import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..storage.locks import Run, last_run, resume_folder
from ..storage.progress import JOBS, JobStatus, Reading
from ..study.paths import fill
from ..study.study import Study
from ..workflow.graph import Plan
from .durations import Durations
from .state import BROKEN, DONE, QUEUED, RUNNING, WAITING, JobState, Records, StudyState
from .why import recorded_parameter

RECORDS = Path(".snakemake")
# Without a lock that reaches here, a run counts as going on for so long after it wrote something.
SILENCE = 120.0
Marks = dict[str, tuple[float, bool]]  # since when jobs run, and whether on a cluster, by output


class Observer:
    """Looks at a study, again and again; keeps what does not change between two looks."""

    def __init__(self, study: Study, plan: Plan) -> None:
        """To be called in the repository; jobs that finished with another plan count as waiting."""
        self.study, self.plan = study, plan
        self._records: dict[Path, tuple[int, dict[str, Any]]] = {}
        self._changed: dict[tuple, bool] = {}

    def look(self, now: float | None = None) -> StudyState:
        """The study as it is."""
        now = time.time() if now is None else now
        run = last_run(self.study.name)
        last_written = self._last_written(run)
        alive = run is not None and bool(run.held)
        if run is not None and not run.told_by_lock:
            alive = last_written is not None and now - last_written < SILENCE
        begun, records = _marks(RECORDS / "incomplete"), self._read_records()
        jobs = [JobState(**vars(job)) for job in self.plan.jobs]
        for job in jobs:
            self._judge(job, begun, records, run if alive else None)
        state = StudyState(self.study.name, jobs, run, alive, last_written, now=now)
        if run is not None:
            state.failed = self._failed(run.started, jobs)
        Durations(self.study, jobs, records).estimate(state)
        return state

    def finished_cells(self) -> int:
        """How many cells are there; cheaper than a look."""
        made = [job.outputs for job in self.plan.jobs if job.makes_cell]
        return sum(all(Path(path).exists() for path in outputs) for outputs in made)

    def _judge(self, job: JobState, begun: Marks, records: Records, run: Run | None) -> None:
        marks = [begun[path] for path in job.outputs if path in begun]
        if marks:
            job.since, submitted = max(marks)
            # A mark older than the run is of a job that a former run left.
            going_on = run is not None and job.since >= run.started - 1
            queued = submitted and job.rule != "train"
            job.state = BROKEN if not going_on else QUEUED if queued else RUNNING
        elif all(Path(path).exists() for path in job.outputs):
            outdated = self._is_outdated(job, records.get(job.outputs[0]))
            job.state = WAITING if outdated else DONE
        if job.rule == "train" and job.state != DONE:
            self._read_training(job, submitted=bool(marks) and max(marks)[1])

    def _read_training(self, job: JobState, submitted: bool) -> None:
        paths = self.study.paths
        log = fill(paths.log_of(f"train/{paths.cell_name}"), **job.wildcards)
        last_written, status = _time(Path(log)), JobStatus(log)
        # A log from before the job began is of an earlier attempt.
        if job.state == RUNNING and last_written >= (job.since or 0.0) - 1:
            job.last_written, job.reading = last_written, Reading.of(status)
        elif job.state == RUNNING and submitted:
            job.state = QUEUED
        elif job.state != RUNNING:
            saved = resume_folder(fill(paths.provenance, **job.wildcards))
            if (saved / "state.safetensors").exists():
                job.state, job.reading = BROKEN, Reading.of(status)

    def _is_outdated(self, job: JobState, record: Mapping[str, Any] | None) -> bool:
        if record is None:
            return False
        key = (job.outputs[0], record.get("endtime"))
        if key not in self._changed:
            recorded = recorded_parameter(record)
            self._changed[key] = recorded not in (None, self.plan.parameter(job))
        return self._changed[key]

    def _read_records(self) -> dict[str, dict[str, Any]]:
        """What Snakemake recorded of finished jobs, by output; each read once."""
        found = {}
        for name, path in _encoded(RECORDS / "metadata"):
            with suppress(OSError, ValueError):  # it is being written
                stamp = path.stat().st_mtime_ns
                if self._records.get(path, (0,))[0] != stamp:
                    self._records[path] = stamp, json.loads(path.read_bytes())
                found[name] = self._records[path][1]
        return found

    def _last_written(self, run: Run | None) -> float | None:
        """When a run last wrote anything: to Snakemake's log, or to that of a job."""
        logs = (RECORDS / "log", Path(self.study.paths.root, "logs"))
        times = [_time(path) for folder in logs for path in folder.rglob("*.log")]
        return max([*times, run.started if run else 0.0]) or None

    def _failed(self, started: float, jobs: list[JobState]) -> dict[str, str]:
        """Messages of the jobs of a run that failed, by log."""
        found = {}
        if not any(job.state in (WAITING, BROKEN) for job in jobs):
            return found
        for path in sorted((JOBS / self.study.paths.root).rglob("*.json")):
            log = str(path.relative_to(JOBS).with_suffix(".log"))
            said = JobStatus(log).read() if _time(path) >= started else {}
            if "failure" in said and not said["stopped"]:
                found[log] = said["failure"].partition("\n")[0]
        return found


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _encoded(folder: Path) -> Iterator[tuple[str, Path]]:
    """Snakemake's records in a folder, by the output that the name of each encodes."""
    for path in folder.rglob("*"):
        # A long name is cut into folders, whose names begin with @.
        name = "".join(part.removeprefix("@") for part in path.relative_to(folder).parts)
        with suppress(ValueError):
            output = urlsafe_b64decode(name).decode()
            if path.is_file():
                yield output, path


def _marks(folder: Path) -> Marks:
    """The jobs that were begun and have not ended."""
    found = {}
    for output, path in _encoded(folder):
        with suppress(OSError, ValueError, AttributeError):
            submitted = json.loads(path.read_bytes()).get("external_jobid") is not None
            found[output] = path.stat().st_mtime, submitted
    return found
