"""The graph of jobs, as the rules declare it once Snakemake has read Snakefile and rules/."""

import itertools
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# A job: the name of its rule and its wildcards, sorted.
JobKey = tuple[str, tuple[tuple[str, str], ...]]
_WILDCARD = re.compile(r"\{(\w+)(?:,((?:[^{}]|\{[^{}]*\})*))?\}")


@dataclass(frozen=True)
class Uses:
    """What the jobs of a rule use beside their files."""

    keys: tuple[str, ...]  # of the config (`study.derived`)
    # What a generic script is told: which function, with which inputs and keys.
    call: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkflowRule:
    """A rule of the workflow; one without a script is a target."""

    name: str
    # Patterns, lists of patterns, or functions of the wildcards, each under its name or None.
    inputs: Sequence[tuple[str | None, str | list[str] | Callable[[Mapping[str, str]], Any]]]
    outputs: Sequence[str]  # patterns, whose wildcards may hold a constraint
    script: str | None = None  # path below the folder of scripts
    uses: Uses | None = None
    log: str = ""  # a pattern, as is the benchmark
    benchmark: str | None = None
    message: str = ""  # with wildcards as {wildcards.name}
    temporary: bool = False  # its outputs are deleted once everything is made of them
    possible: bool = True  # the study has what it takes
    # The number of each output by its name or None; the first and the end of several.
    output_names: Mapping[str, tuple[int, int | None]] = field(default_factory=dict)
    resources: Mapping[str, int] = field(default_factory=dict)  # those the same for all its jobs


@dataclass
class PlannedJob:
    """A job of a study, for those who look at the study from outside."""

    rule: str
    wildcards: dict[str, str]
    outputs: list[str]
    log: str = ""
    benchmark: str | None = None
    message: str = ""
    temporary: bool = False  # its outputs are deleted once everything is made of them
    above: list[int] = field(default_factory=list)  # numbers of the jobs it reads from
    # What decides whether it is still current, without its code.
    parameter: dict[str, Any] = field(default_factory=dict)

    @property
    def makes_cell(self) -> bool:
        """Whether it trains or imports a cell."""
        return any("/checkpoints/" in path for path in self.outputs)


class Graph:
    """What reads what among the jobs of a study."""

    def __init__(self, rules: Iterable[WorkflowRule]) -> None:
        """Take the rules in the order of the workflow."""
        self.rules = {rule.name: rule for rule in rules}
        self._order = {name: number for number, name in enumerate(self.rules)}
        self._makers: dict[tuple[str, str], list[tuple[re.Pattern, str]]] = {}
        for rule in self.rules.values():
            for pattern in rule.outputs if rule.script else ():
                found = self._makers.setdefault(_place(pattern), [])
                found.append((re.compile(_regex(pattern)), rule.name))
        self._jobs: dict[str, JobKey | None] = {}
        self._inputs: dict[JobKey, list[tuple[str | None, Any]]] = {}

    def job_of(self, path: str) -> JobKey | None:
        """The job that makes a file; None if no rule does."""
        if path not in self._jobs:
            self._jobs[path] = None
            for pattern, rule in self._makers.get(_place(path), ()):
                if match := pattern.fullmatch(path):
                    self._jobs[path] = (rule, tuple(sorted(match.groupdict().items())))
                    break
        return self._jobs[path]

    def named_inputs(self, job: JobKey) -> list[tuple[str | None, Any]]:
        """What a job reads: a path or paths under each name, as its script gets them."""
        if job not in self._inputs:
            wildcards = dict(job[1])
            self._inputs[job] = found = []
            for name, item in self.rules[job[0]].inputs:
                if isinstance(item, list):
                    value: Any = [pattern.format(**wildcards) for pattern in item]
                else:
                    value = item(wildcards) if callable(item) else item.format(**wildcards)
                found.append((name, value))
        return self._inputs[job]

    def inputs(self, job: JobKey) -> list[str]:
        """The files a job reads."""
        values = [value for _, value in self.named_inputs(job)]
        return [path for v in values for path in ([v] if isinstance(v, str) else v)]

    def outputs(self, job: JobKey) -> list[str]:
        """The files a job makes."""
        return [fill_pattern(pattern, dict(job[1])) for pattern in self.rules[job[0]].outputs]

    def above(self, job: JobKey) -> list[JobKey]:
        """The jobs that make what a job reads, each once."""
        makers = dict.fromkeys(map(self.job_of, self.inputs(job)))
        return [maker for maker in makers if maker is not None]

    def jobs(self, *targets: str) -> list[JobKey]:
        """Every job that files, or rules without wildcards, need, in the order of the rules."""
        waiting: deque[JobKey] = deque()
        for target in targets:
            if target in self.rules:
                waiting += [(target, ())] if self.rules[target].script else self.above((target, ()))
            elif job := self.job_of(target):
                waiting.append(job)
        found: dict[JobKey, None] = {}
        while waiting:
            job = waiting.popleft()
            if job not in found:
                found[job] = None
                waiting += self.above(job)
        return sorted(found, key=lambda job: self._order[job[0]])

    def first_job(self, target: str, *everything: str) -> JobKey | None:
        """The job of a file, or the first of a rule or short name; `everything`: all targets."""
        if target not in self.rules:
            return self.job_of(target)
        rule = self.rules[target]
        if not rule.script:
            jobs = self.above((target, ()))
        elif any(map(_WILDCARD.search, rule.outputs)):
            jobs = [job for job in self.jobs(*everything) if job[0] == target]
        else:
            jobs = [(target, ())]
        return next(iter(jobs), None)

    def planned(
        self, job: JobKey, numbers: Mapping[JobKey, int], parameter: dict[str, Any]
    ) -> PlannedJob:
        """A job for a plan; `numbers` are those of all its jobs."""
        rule, wildcards = self.rules[job[0]], dict(job[1])
        return PlannedJob(
            rule=rule.name,
            wildcards=wildcards,
            outputs=self.outputs(job),
            log=fill_pattern(rule.log, wildcards),
            benchmark=rule.benchmark and fill_pattern(rule.benchmark, wildcards),
            message=re.sub(r"\{wildcards\.(\w+)\}", lambda m: wildcards[m[1]], rule.message),
            temporary=rule.temporary,
            above=[numbers[above] for above in self.above(job)],
            parameter=parameter,
        )

    def on_request(self, values: Mapping[str, Sequence[str]]) -> Iterator[str]:
        """Every file that can be asked for, from the values of every wildcard."""
        for rule in self.rules.values():
            for pattern in rule.outputs if rule.script and rule.possible else ():
                names = list(dict.fromkeys(name for name, _ in _WILDCARD.findall(pattern)))
                for chosen in itertools.product(*(values[name] for name in names)):
                    path = fill_pattern(pattern, dict(zip(names, chosen, strict=True)))
                    job = self.job_of(path)
                    if job is not None and job[0] == rule.name:
                        yield path


@dataclass
class Plan:
    """The jobs of a study, for those who look at it from outside."""

    jobs: list[PlannedJob]  # of the complete study
    others: list[PlannedJob]  # asked for in addition, numbered after those
    on_request: list[str]  # files that can be asked for and are not outputs of `jobs`
    code: dict[str, dict[str, str]]  # hashes of the code of every rule

    @property
    def expected(self) -> list[str]:
        """Every file of the complete study that is kept."""
        return [path for job in self.jobs if not job.temporary for path in job.outputs]

    def parameter(self, job: PlannedJob) -> dict[str, Any]:
        """What decides whether a finished job is still current: its code and what it uses."""
        return {"code": self.code[job.rule], **job.parameter}

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> "Plan":
        """The plan from its `asdict`, as JSON has it."""
        jobs, others = ([PlannedJob(**job) for job in content[name]] for name in ("jobs", "others"))
        return cls(jobs, others, content["on_request"], content["code"])


def fill_pattern(pattern: str, wildcards: Mapping[str, str]) -> str:
    """A pattern with its wildcards, constraints included, replaced."""
    return _WILDCARD.sub(lambda match: wildcards[match[1]], pattern)


def _regex(pattern: str) -> str:
    """The regular expression of a pattern's paths; no wildcard spans a folder by default."""
    text, end, seen = "", 0, set()
    for match in _WILDCARD.finditer(pattern):
        name, constraint = match[1], match[2]
        text += re.escape(pattern[end : match.start()])
        text += f"(?P={name})" if name in seen else f"(?P<{name}>{constraint or '[^/]+'})"
        seen.add(name)
        end = match.end()
    return text + re.escape(pattern[end:])


def _place(path: str) -> tuple[str, str]:
    """Folder of the study and ending of a path or pattern: few rules share both."""
    parts = path.split("/", 3)
    return (parts[2] if len(parts) > 3 else "", Path(path).suffix)
