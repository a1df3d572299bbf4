"""What decides whether a finished job still stands: its code, and what it uses of the config."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..storage.files import write_json
from ..study.derived import used
from ..study.study import Study
from .fingerprints import job_code, short_sha256
from .graph import Graph, JobKey, Plan
from .run_file import JOB, PLAN

# Targets whose jobs make up the complete study.
COMPLETE = ("figures", "tables")
_digest = cache(short_sha256)  # of a parameter, once for all jobs that depend on it


class Parameters:
    """The parameters of all jobs of a study.

    A job's parameter holds a digest of the parameters of every job it depends on. With Snakemake
    alone, if a job that must run again fails, its outputs are removed, and as nobody asks for them
    by name, the older tables and figures below would count as current the next time.
    """

    def __init__(
        self, study: Study, graph: Graph, scripts: Path, code: dict[str, dict[str, str]] | None
    ) -> None:
        """`code`: hashes by rule, which a job on another node takes from its run."""
        self.study, self.graph = study, graph
        if code is None:
            rules = [rule for rule in graph.rules.values() if rule.script and rule.uses]
            code = {rule.name: job_code(scripts, rule.script, rule.uses.call) for rule in rules}
        self.code = code
        self._texts: dict[JobKey, str] = {}

    def of(self, rule: str, wildcards: Mapping[str, str]) -> dict[str, Any]:
        """The parameter of one job."""
        return json.loads(self.text(rule, wildcards))

    def text(self, rule: str, wildcards: Mapping[str, str]) -> str:
        """The canonical text of the parameter of one job; asked for often, made once."""
        job = (rule, tuple(sorted(wildcards.items())))
        if job not in self._texts:
            declared = self.graph.rules[rule]
            above = {_digest(self.text(one, dict(items))) for one, items in self.graph.above(job)}
            parameter = {
                "code": self.code[rule],
                "script": declared.script,
                "call": declared.uses.call,
                "spec": used(self.study, declared.uses.keys, wildcards),
                "upstream": short_sha256("".join(sorted(above))),
            }
            self._texts[job] = canonical(parameter)
        return self._texts[job]

    def of_one(self, target: str) -> dict[str, Any]:
        """The job of a file, or the first of a rule or short name, as its script would get it.

        Inputs and outputs are a path or paths under each name. Raises UserError if none is found.
        """
        job = self.graph.first_job(target, *COMPLETE)
        if job is None:
            raise self.study.unknown_output(target)
        rule, wildcards = self.graph.rules[job[0]], dict(job[1])
        made, named = self.graph.outputs(job), rule.output_names.items()
        return {
            "wildcards": wildcards,
            "input": self.graph.named_inputs(job),
            "output": [(name, made[i] if end is None else made[i:end]) for name, (i, end) in named],
            "resources": dict(rule.resources),
            "parameter": self.text(rule.name, wildcards),
        }

    def plan(self) -> Plan:
        """The jobs of the complete study, and those asked for so far, with their parameters."""
        complete = self.graph.jobs(*COMPLETE)
        asked = [job for job in self._texts if self.graph.rules[job[0]].outputs]
        numbers = {job: number for number, job in enumerate(dict.fromkeys([*complete, *asked]))}
        planned = []
        for job in numbers:
            parameter = self.of(job[0], dict(job[1]))
            del parameter["code"]
            planned.append(self.graph.planned(job, numbers, parameter))
        jobs, others = planned[: len(complete)], planned[len(complete) :]
        known = {path for job in jobs for path in job.outputs}
        possible = dict.fromkeys(self.graph.on_request(self.study.everything()))
        return Plan(jobs, others, [path for path in possible if path not in known], self.code)


def write_asked(parameters: Parameters) -> None:
    """Write what the environment asks for, unless a message says already why there is none."""
    path, target = os.environ[PLAN], os.environ.get(JOB)
    if Path(path).exists():
        return
    try:
        write_json(path, parameters.of_one(target) if target else asdict(parameters.plan()))
    except UserError as error:
        write_json(path, {"error": str(error)})


def canonical(parameter: dict[str, Any]) -> str:
    """The one text of a parameter: Snakemake compares parameters as a set of texts."""
    return json.dumps(parameter, sort_keys=True)
