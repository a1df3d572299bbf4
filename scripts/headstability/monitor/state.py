"""A study at one moment: its jobs, each with its state, and the run that makes them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..storage.locks import Run
from ..storage.progress import Reading
from ..workflow.graph import PlannedJob

# What the overview shows, in its order: folders of a study, where "conditions" is "measurements".
GROUPS = ("corpus", "downloads", "cells", "caches", "measurements", "tables", "figures")
Records = Mapping[str, Mapping[str, Any]]  # Snakemake's, of finished jobs, by output
DONE, RUNNING, QUEUED, BROKEN, WAITING = "done", "running", "queued", "interrupted", "waiting"


@dataclass
class JobState(PlannedJob):
    """One job of the study at that moment."""

    state: str = WAITING
    since: float | None = None  # when it was started or submitted, seconds since the epoch
    # Of trainings only: when it last wrote to its log, likewise, and how far it was.
    last_written: float | None = None
    reading: Reading | None = None

    @property
    def group(self) -> str:
        """Where it stands in the overview."""
        if self.rule == "download_weights":
            return "downloads"
        if "/caches/" in self.outputs[0]:
            return "caches"
        place = self.outputs[0].split("/")[2].replace("conditions", "measurements")
        return place if place in GROUPS else "tables"

    @property
    def label(self) -> str:
        """Its wildcards as in paths, for people."""
        forms = {"architecture": "{}", "weight_decay": "wd{}", "refit": "{}"}
        shown = dict(self.wildcards)
        cell = [form.format(shown.pop(name)) for name, form in forms.items() if name in shown]
        step = [f"step {shown.pop('step')}"] if "step" in shown else []
        return ", ".join(filter(None, ["/".join(cell), *step, *shown.values()]))


@dataclass
class StudyState:
    """A study at one moment; times are seconds since the epoch."""

    study: str  # its name
    jobs: list[JobState]
    run: Run | None  # the one that is going on, or the last one
    alive: bool  # whether a run is going on
    last_written: float | None  # when it last wrote anything
    failed: dict[str, str] = field(default_factory=dict)  # in the last run: messages by log
    left: float | None = None  # seconds the rest takes; None if that cannot be told
    uncounted: int = 0  # unfinished jobs of which no such job has finished: not all in `left`
    at_once: int = 1  # jobs at a time, as assumed for `left`
    now: float = 0.0

    @cached_property
    def counts(self) -> dict[str, Counter[str]]:
        """Jobs by group and state."""
        found = {group: Counter[str]() for group in GROUPS}
        for job in self.jobs:
            found[job.group][job.state] += 1
        return {group: states for group, states in found.items() if states}

    def of_state(self, *states: str) -> list[JobState]:
        """The jobs in one of some states."""
        return [job for job in self.jobs if job.state in states]

    @property
    def complete(self) -> bool:
        """Whether everything is made."""
        return all(job.state == DONE for job in self.jobs)
