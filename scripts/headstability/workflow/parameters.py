"""What decides whether a finished job still stands: its code, and what it uses of the config."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..storage.files import write_json
from ..study.derived import used
from ..study.study import Study
from .fingerprints import job_code
from .graph import Graph, JobKey, Plan, WorkflowRule, fill_pattern
from .run_file import JOB, PLAN

# Targets whose jobs make up the complete study.
COMPLETE = ("figures", "tables")


class Parameters:
    """The parameters of all jobs of a study.

    A job's parameter holds, beside its own code and what it uses, a digest of the parameters of
    every job it depends on. Snakemake alone would forget: if a job that must run again fails, its
    outputs are removed, and as nobody asks for them by name, the older tables and figures below
    would count as current the next time.
    """

    def __init__(
        self,
        study: Study,
        graph: Graph,
        scripts: Path,
        code: dict[str, dict[str, str]] | None = None,
    ) -> None:
        """Hash the code of every rule.

        Args:
            study: the study.
            graph: of its jobs.
            scripts: folder of the scripts.
            code: the hashes, if they are known: a job on another node takes those of its run.
        """
        self.study, self.graph = study, graph
        if code is None:
            rules = [rule for rule in graph.rules.values() if rule.script]
            code = {rule.name: hashes_of(rule, scripts) for rule in rules}
        self.code = code
        self._texts: dict[JobKey, str] = {}
        self._digests: dict[JobKey, str] = {}

    def of(self, rule: str, wildcards: Mapping[str, str]) -> dict[str, Any]:
        """The parameter of one job."""
        return json.loads(self.text(rule, wildcards))

    def text(self, rule: str, wildcards: Mapping[str, str]) -> str:
        """The canonical text of the parameter of one job; asked for often, made once."""
        job = (rule, tuple(sorted(wildcards.items())))
        if job not in self._texts:
            declared = self.graph.rules[rule]
            digests = sorted({self._digest(above) for above in self.graph.above(job)})
            self._texts[job] = canonical(
                {
                    "code": self.code[rule],
                    "script": declared.script,
                    "call": declared.uses.call,
                    "spec": used(self.study, declared.uses.keys, wildcards),
                    "upstream": _sha256("".join(digests)),
                }
            )
        return self._texts[job]

    def _digest(self, job: JobKey) -> str:
        if job not in self._digests:
            self._digests[job] = _sha256(self.text(job[0], dict(job[1])))
        return self._digests[job]

    def of_one(self, target: str) -> dict[str, Any]:
        """One job as Snakemake would hand it to its script, for `by_hand`.

        Args:
            target: a file, or a rule or short name: the first of its jobs.

        Returns:
            rule, wildcards, log, resources, parameter (the text); input and output: a path or
            paths under each name.

        Raises:
            UserError: there is no such job.
        """
        job = self.graph.first_job(target, *COMPLETE)
        if job is None:
            raise self.study.unknown_output(target)
        rule, wildcards = self.graph.rules[job[0]], dict(job[1])
        made, places = self.graph.outputs(job), rule.output_names.items()
        return {
            "rule": rule.name,
            "wildcards": wildcards,
            "input": self.graph.named_inputs(job),
            "output": [
                (name, made[first] if end is None else made[first:end])
                for name, (first, end) in places
            ],
            "log": fill_pattern(rule.log, wildcards),
            "resources": dict(rule.resources),
            "parameter": self.text(rule.name, wildcards),
        }

    def plan(self) -> Plan:
        """The jobs of the complete study, and those asked for so far, with their parameters."""
        complete = self.graph.jobs(*COMPLETE)
        for job in complete:
            self.text(job[0], dict(job[1]))
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
    """Write what the environment asks for, unless a message is there already: why there is none."""
    path, target = os.environ[PLAN], os.environ.get(JOB)
    if Path(path).exists():
        return
    try:
        write_json(path, parameters.of_one(target) if target else parameters.plan().as_json())
    except UserError as error:
        write_json(path, {"error": str(error)})


def hashes_of(rule: WorkflowRule, scripts: Path) -> dict[str, str]:
    """Hashes of the code of a rule: its script, and the function a generic script is told."""
    return job_code(scripts, rule.script or "", rule.uses.call if rule.uses else {})


def canonical(parameter: dict[str, Any]) -> str:
    """The one text of a parameter.

    Snakemake compares parameters as a set of texts: one string with sorted keys is the way to see
    every change and nothing else.
    """
    return json.dumps(parameter, sort_keys=True)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
