"""How long the rest of a study takes, reckoned from its finished and running jobs."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from ..study.study import Study
from ..workflow.costs import forward_flops
from ..workflow.estimate import JOB_SECONDS
from ..workflow.sizes import Sizes
from .state import BROKEN, DONE, QUEUED, RUNNING, WAITING, JobState, StudyState


class Durations:
    """Seconds that jobs take, by rule and architecture, as far as such jobs have finished."""

    def __init__(
        self, study: Study, jobs: Sequence[JobState], records: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Gather the durations of finished jobs.

        Args:
            study: the study.
            jobs: all of its jobs, with their states.
            records: what Snakemake recorded of finished jobs, by output.
        """
        self.study = study
        self.known: dict[tuple[str, str | None], list[float]] = {}
        done = [(job, records.get(job.outputs[0])) for job in jobs if job.state == DONE]
        recorded = [(job, record) for job, record in done if record is not None]
        for job, record in recorded:
            seconds = _seconds(record)
            if seconds is not None:
                self._note(job, seconds)
        self.at_once = _at_once([record for _, record in recorded])
        self._rates = {
            job.wildcards["architecture"]: job.reading.rate
            for job in jobs
            if job.rule == "train" and job.reading and job.reading.rate
        }

    def _note(self, job: JobState, seconds: float) -> None:
        architecture = job.wildcards.get("architecture")
        for key in {(job.rule, architecture), (job.rule, None), (_family(job), None)}:
            self.known.setdefault(key, []).append(seconds)

    def of(self, job: JobState) -> float | None:
        """Seconds a job takes from beginning to end; None if no job like it tells.

        Of the same rule and architecture if one has finished, of another architecture else; a
        training also by the speed of one that runs, and in proportion to the operations of a
        forward pass where only another architecture was trained.
        """
        architecture = job.wildcards.get("architecture")
        if (job.rule, architecture) in self.known:
            return mean(self.known[job.rule, architecture])
        if job.rule == "train":
            return self._training(architecture or "")
        found = self.known.get((job.rule, None)) or self.known.get((_family(job), None))
        return mean(found) if found else None

    def _training(self, architecture: str) -> float | None:
        known = {name: self.study.steps / rate for name, rate in self._rates.items()}
        known |= {
            name: mean(seconds)
            for (rule, name), seconds in self.known.items()
            if rule == "train" and name is not None
        }
        if architecture in known or not known:
            return known.get(architecture)
        work = {name: self._work(name) for name in {architecture, *known}}
        return mean(known[name] * work[architecture] / work[name] for name in known)

    def _work(self, architecture: str) -> float:
        shape = Sizes(self.study).shape(architecture)
        return forward_flops(shape, shape.context)

    def estimate(self, state: StudyState) -> None:
        """Put into the state of a study how long its unfinished jobs take together.

        The longest of them, or all of them at the number that runs at a time, whichever is more.
        Jobs of kinds none of which has finished count with JOB_SECONDS; of trainings that would
        say nothing, so the time is unknown until one has begun.
        """
        state.at_once = len(state.of_state(RUNNING)) or self.at_once
        lefts = []
        for job in state.of_state(RUNNING, QUEUED, BROKEN, WAITING):
            left = self._left(job, state.now)
            if left is None and job.makes_cell:
                return
            state.uncounted += left is None
            lefts.append(JOB_SECONDS if left is None else left)
        state.left = max([0.0, *lefts, sum(lefts) / state.at_once])

    def _left(self, job: JobState, now: float) -> float | None:
        if job.state == RUNNING and job.reading and job.reading.seconds is not None:
            return job.reading.seconds
        whole = self.of(job)
        if whole is None:
            return None
        if job.state == RUNNING and job.since is not None:
            return max(0.0, whole - (now - job.since))
        if job.reading:  # goes on from its saved state
            return whole * (1 - job.reading.done / job.reading.total)
        return whole


def _at_once(records: Sequence[Mapping[str, Any]]) -> int:
    """How many jobs ran at a time on average, from when each began and ended."""
    spans = sorted((item["starttime"], item["endtime"]) for item in records if _is_timed(item))
    busy, total, end = 0.0, 0.0, 0.0
    for start, stop in spans:
        total += stop - start
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return max(1, round(total / busy)) if busy else 1


def _is_timed(record: Mapping[str, Any]) -> bool:
    times = (record.get("starttime"), record.get("endtime"))
    return all(isinstance(value, int | float) for value in times) and times[0] <= times[1]


def _family(job: JobState) -> str:
    """What a job is like where none of its rule has finished: tables and figures take seconds."""
    return f"any of {job.group}" if job.group in ("tables", "figures") else job.rule


def _seconds(record: Mapping[str, Any]) -> float | None:
    """How long a job took: by its benchmark, or by Snakemake's record, which holds waiting, too."""
    try:
        log = str(record["log"][0])
        benchmark = Path(log.replace("/logs/", "/benchmarks/", 1)).with_suffix(".tsv")
        if benchmark.exists():
            with open(benchmark, encoding="utf-8") as handle:
                return float(next(csv.DictReader(handle, delimiter="\t"))["s"])
        return max(0.0, record["endtime"] - record["starttime"])
    except (OSError, KeyError, IndexError, TypeError, ValueError, StopIteration):
        return None
