"""A study at one moment: its jobs, each with its state, and the run that makes them."""

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

from ..storage.locks import Run
from ..storage.progress import Reading

# Folders of a study and what their files are called in the overview, in its order.
GROUPS = {
    "corpus": "corpus",
    "downloads": "downloads",
    "cells": "cells",
    "caches": "caches",
    "conditions": "measurements",
    "tables": "tables",
    "figures": "figures",
}
DONE, RUNNING, QUEUED, BROKEN, WAITING = "done", "running", "queued", "interrupted", "waiting"


@dataclass
class JobState:
    """One job of the study.

    Attributes:
        rule, wildcards, outputs: what it is.
        state: done, running, queued (on a cluster), interrupted, or waiting.
        since: when it was started or submitted, seconds since the epoch.
        last_written: when it last wrote to its log, likewise; of trainings only.
        reading: the last progress line of its log; of trainings only.
    """

    rule: str
    wildcards: dict[str, str]
    outputs: list[str]
    state: str = WAITING
    since: float | None = None
    last_written: float | None = None
    reading: Reading | None = None

    @property
    def group(self) -> str:
        """Where it stands in the overview."""
        if self.rule == "download_weights":
            return "downloads"
        if "/caches/" in self.outputs[0]:
            return "caches"
        place = self.outputs[0].split("/")[2]
        return place if place in GROUPS else "tables"

    @property
    def makes_cell(self) -> bool:
        """Whether it trains or imports a cell."""
        return any("/checkpoints/" in path for path in self.outputs)

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
    """A study at one moment.

    Attributes:
        study: its name.
        jobs: all of them.
        run: the run that is going on, or the last one.
        alive: whether a run is going on.
        last_written: when it last wrote anything, seconds since the epoch.
        failed: messages of jobs that failed in the last run, by their log.
        left: seconds the rest takes; None if that cannot be told.
        uncounted: unfinished jobs like none that has finished; `left` is too little by them.
        at_once: jobs at a time that `left` reckons with.
        now: the moment.
    """

    study: str
    jobs: list[JobState]
    run: Run | None
    alive: bool
    last_written: float | None
    failed: dict[str, str] = field(default_factory=dict)
    left: float | None = None
    uncounted: int = 0
    at_once: int = 1
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
