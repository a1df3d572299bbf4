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
from .state import BROKEN, DONE, QUEUED, RUNNING, WAITING, JobState, Records, StudyState


class Durations:
    """Seconds that jobs take, by rule and architecture, as far as such jobs have finished."""

    def __init__(self, study: Study, jobs: Sequence[JobState], records: Records) -> None:
        self.study = study
        # By rule and architecture; with None, of all architectures.
        self.known: dict[tuple[str, str | None], list[float]] = {}
        done = [job for job in jobs if job.state == DONE and job.outputs[0] in records]
        for job in done:
            rule, architecture = job.rule, job.wildcards.get("architecture")
            if (seconds := _seconds(records[job.outputs[0]])) is not None:
                for key in {(rule, architecture), (rule, None), (_family(job), None)}:
                    self.known.setdefault(key, []).append(seconds)
        self.at_once = _at_once([records[job.outputs[0]] for job in done])
        self._running = {
            job.wildcards["architecture"]: study.steps / job.reading.rate
            for job in jobs
            if job.rule == "train" and job.reading and job.reading.rate
        }

    def of(self, job: JobState) -> float | None:
        """Seconds a job takes from beginning to end; None if no finished job is like it.

        Those of the same rule and architecture count, else those of another architecture. For a
        training one that runs counts too, and of another architecture in proportion to the
        operations of a forward pass.
        """
        architecture = job.wildcards.get("architecture")
        if (job.rule, architecture) in self.known:
            return mean(self.known[job.rule, architecture])
        if job.rule == "train":
            return self._training(architecture or "")
        found = self.known.get((job.rule, None)) or self.known.get((_family(job), None))
        return mean(found) if found else None

    def _training(self, architecture: str) -> float | None:
        known = self._running | {
            name: mean(seconds)
            for (rule, name), seconds in self.known.items()
            if rule == "train" and name is not None
        }
        if architecture in known or not known:
            return known.get(architecture)
        sizes, context = Sizes(self.study), self.study.config.training.context
        work = {name: forward_flops(sizes.shape(name), context) for name in {architecture, *known}}
        return mean(known[name] * work[architecture] / work[name] for name in known)

    def estimate(self, state: StudyState) -> None:
        """Put into the state of a study how long its unfinished jobs take together.

        That is the time of the longest, or of all at the number that runs at a time, whichever is
        more. Jobs unlike any that has finished count as JOB_SECONDS; for trainings that would be
        far off, so the time is unknown until one has begun.
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
    spans = [(record.get("starttime"), record.get("endtime")) for record in records]
    spans = sorted(s for s in spans if all(isinstance(t, int | float) for t in s) and s[0] <= s[1])
    busy, total, end = 0.0, 0.0, 0.0
    for start, stop in spans:
        total += stop - start
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return max(1, round(total / busy)) if busy else 1


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
