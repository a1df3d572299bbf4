"""How far a study is, from its files alone: what is done, what runs, how long the rest takes.

It reads outputs, logs and benchmarks of the study and the records Snakemake keeps of finished and
unfinished jobs, and writes nothing: it works beside a run, after one, and from another machine.
"""

import json
import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .jobs import MAKERS, Parameters, planned_jobs
from .liveness import Run, last_run
from .paths import fill
from .progress import last_reading
from .snapshot import BROKEN, DONE, QUEUED, RUNNING, WAITING, Job, Snapshot
from .status_times import Durations
from .study import Study
from .why import recorded_parameter

RECORDS = Path(".snakemake")
# Without a lock that reaches here, a run counts as going on for so long after it wrote something.
SILENCE = 120.0


class Observer:
    """Looks at a study, again and again; keeps what does not change between two looks."""

    def __init__(self, study: Study, parameters: Parameters | None = None) -> None:
        """List the jobs of a study; to be called in the repository.

        Args:
            study: the study.
            parameters: of its jobs today; with them, jobs whose config or code has changed since
                they finished count as waiting.
        """
        self.study, self.parameters = study, parameters
        self.planned = planned_jobs(study)
        self._records: dict[Path, tuple[int, dict[str, Any]]] = {}
        self._changed: dict[tuple, bool] = {}

    def look(self, now: float | None = None) -> Snapshot:
        """The study as it is."""
        now = time.time() if now is None else now
        run = last_run(self.study.name)
        signed = self._signed(run)
        alive = run is not None and bool(run.held)
        if run is not None and not run.told_by_lock:
            alive = signed is not None and now - signed < SILENCE
        begun = dict(_marks(RECORDS / "incomplete"))
        records = self._read_records()
        jobs = [
            self._job(Job(*planned), begun, records, run if alive else None)
            for planned in self.planned
        ]
        snapshot = Snapshot(self.study.name, jobs, run, alive, signed, now=now)
        if run is not None:
            snapshot.failed = self._failed(run.started, jobs)
        Durations(self.study, jobs, records).estimate(snapshot)
        return snapshot

    def finished_cells(self) -> int:
        """How many cells are there; cheaper than a look."""
        made = [outputs for rule, _, outputs in self.planned if rule in MAKERS]
        return sum(all(Path(path).exists() for path in outputs) for outputs in made)

    # --- one job --------------------------------------------------------------------------

    def _job(
        self,
        job: Job,
        begun: Mapping[str, tuple[float, bool]],
        records: Mapping[str, dict[str, Any]],
        run: Run | None,
    ) -> Job:
        marks = [begun[path] for path in job.outputs if path in begun]
        if marks:
            job.since, submitted = max(marks)
            # A mark older than the run is of a job that a former run left.
            going_on = run is not None and job.since >= run.started - 1
            job.state = RUNNING if going_on else BROKEN
            if going_on and submitted and job.rule != "train":
                job.state = QUEUED
        elif all(Path(path).exists() for path in job.outputs):
            outdated = self._is_outdated(job, records.get(job.outputs[0]))
            job.state = WAITING if outdated else DONE
        if job.rule == "train" and job.state != DONE:
            self._read_training(job, submitted=bool(marks) and max(marks)[1])
        return job

    def _read_training(self, job: Job, submitted: bool) -> None:
        paths = self.study.paths
        log = Path(fill(paths.log_of(f"train/{paths.cell_name}"), **job.wildcards))
        try:
            signed, text = log.stat().st_mtime, log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            signed, text = 0.0, ""
        # A log from before the job began is of an earlier attempt.
        if job.state == RUNNING and signed >= (job.since or 0.0) - 1:
            job.signed, job.reading = signed, last_reading(text)
        elif job.state == RUNNING and submitted:
            job.state = QUEUED
        elif job.state != RUNNING:
            saved = Path(fill(paths.provenance, **job.wildcards)).parent / ".resume"
            if (saved / "state.safetensors").exists():
                job.state, job.reading = BROKEN, last_reading(text)

    def _is_outdated(self, job: Job, record: Mapping[str, Any] | None) -> bool:
        if self.parameters is None or record is None:
            return False
        key = (job.outputs[0], record.get("endtime"))
        if key not in self._changed:
            recorded = recorded_parameter(record)
            today = self.parameters.of(job.rule, job.wildcards)
            self._changed[key] = recorded is not None and recorded != today
        return self._changed[key]

    # --- records and logs -----------------------------------------------------------------

    def _read_records(self) -> dict[str, dict[str, Any]]:
        """What Snakemake recorded of finished jobs, by output; each read once."""
        found = {}
        for name, path in _encoded(RECORDS / "metadata"):
            try:
                stamp = path.stat().st_mtime_ns
                if self._records.get(path, (0,))[0] != stamp:
                    self._records[path] = stamp, json.loads(path.read_bytes())
                found[name] = self._records[path][1]
            except (OSError, ValueError):  # being written
                continue
        return found

    def _signed(self, run: Run | None) -> float | None:
        """When a run last wrote anything: to Snakemake's log, or to that of a job."""
        logs = Path(self.study.paths.root, "logs")
        times = [_time(path) for path in (RECORDS / "log").glob("*.log")]
        times += [_time(path) for path in logs.rglob("*.log")]
        times.append(run.started if run else 0.0)
        return max(times) or None

    def _failed(self, started: float, jobs: list[Job]) -> dict[str, str]:
        """Messages of the jobs of a run that failed, by log."""
        found = {}
        if not any(job.state in (WAITING, BROKEN) for job in jobs):
            return found
        for path in sorted(Path(self.study.paths.root, "logs").rglob("*.log")):
            if _time(path) < started or not path.stat().st_size:
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
            error = re.search(r"^Error in \w+: (.*)$", text, flags=re.MULTILINE)
            if error and "run the same command again to go on" not in error[1]:
                found[str(path)] = error[1]
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
        try:
            output = urlsafe_b64decode(name).decode()
        except ValueError:
            continue
        if path.is_file():
            yield output, path


def _marks(folder: Path) -> Iterator[tuple[str, tuple[float, bool]]]:
    """Outputs of jobs that were begun and not ended: since when, and whether on a cluster."""
    for output, path in _encoded(folder):
        try:
            submitted = json.loads(path.read_bytes()).get("external_jobid") is not None
            yield output, (path.stat().st_mtime, submitted)
        except (OSError, ValueError, AttributeError):
            continue
